package storage

import (
	"encoding/json"
	"fmt"

	"prlagent/agent/protocol"
)

// encodedChange is a change ready to be kept without a further error, and without
// work for those who wait for the store.
type encodedChange struct{ device, report, history, events, verdicts, changes, commands, audit []byte }

// encodeChange encodes what is kept of a change, with the device's next version.
// It is ErrTooLarge if that is more than a device may have.
func encodeChange(change Change) (encoded encodedChange, err error) {
	change.Device.Version++
	if encoded.device, err = encodeRecord(change.Device, MaxDeviceBytes); err != nil {
		return encodedChange{}, err
	}
	if change.Report != nil {
		if encoded.report, err = encodeRecord(change.Report, MaxReportBytes); err != nil {
			return encodedChange{}, err
		}
	}
	if change.History != nil {
		if encoded.history, err = encodeRecord(change.History, maxHistoryRecord); err != nil {
			return encodedChange{}, err
		}
	}
	if change.Events != nil {
		if encoded.events, err = encodeRecord(change.Events, maxEventRecord); err != nil {
			return encodedChange{}, err
		}
	}
	if change.Verdicts != nil {
		if encoded.verdicts, err = encodeRecord(change.Verdicts, MaxVerdictBytes); err != nil {
			return encodedChange{}, err
		}
	}
	if change.Changes != nil {
		if encoded.changes, err = encodeRecord(change.Changes, MaxChangesBytes); err != nil {
			return encodedChange{}, err
		}
	}
	if change.Commands != nil {
		if encoded.commands, err = encodeRecord(change.Commands, MaxCommandBytes); err != nil {
			return encodedChange{}, err
		}
	}
	if change.Audit != nil {
		if encoded.audit, err = encodeRecord(change.Audit, MaxDeviceBytes); err != nil {
			return encodedChange{}, err
		}
	}
	return encoded, nil
}

func encodeRecord(v any, limit int) ([]byte, error) {
	data, err := protocol.Encode(v)
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	if len(data) > limit {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), limit)
	}
	return data, nil
}

func decodeRecord(data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("decode record: %w", err)
	}
	return nil
}
