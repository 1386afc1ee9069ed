package webhook

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/fleet"
	"prlagent/cmd/prlportal/storage"
)

const (
	lookInterval = time.Minute
	// staleGrace is how long after its start the portal calls no Mac stale: all that
	// could not reach it come back within the longest wait of an agent, an hour.
	staleGrace = 65 * time.Minute
)

// lookAround does what time alone brings about: it tells of devices that were not
// heard of, and the log of messages that are not taken. Where the receiver wants none
// any more, what has waited for a day is dropped all the same.
func (s *Sender) lookAround(ctx context.Context, isGone bool) {
	now := s.parts.Now()
	if sinceLast := now.Sub(s.looked); sinceLast >= 0 && sinceLast < lookInterval {
		return
	}
	s.looked = now
	s.warnOfAge(ctx, now)
	if isGone {
		s.expireAll(ctx, now)
	}
	if now.Sub(s.started) < staleGrace {
		return
	}
	if err := s.tellStale(ctx, now); err != nil && ctx.Err() == nil {
		s.parts.Log.Error().Err(err).Msg("look for devices that are not heard of")
	}
}

// tellStale tells once of each device that is not heard of any more.
func (s *Sender) tellStale(ctx context.Context, now time.Time) error {
	scan := fleet.Scan{Fleet: s.parts.Fleet, Now: now, Freshness: s.parts.Freshness}
	_, err := scan.Devices(ctx, func(view *fleet.Device) error {
		if view.Health != fleet.HealthStale {
			delete(s.told, view.DeviceID)
			return nil
		}
		if _, isTold := s.told[view.DeviceID]; isTold {
			return nil
		}
		return s.tellStaleDevice(ctx, view, now)
	})
	return err
}

// tellStaleDevice keeps the message and that it was told in one commit.
func (s *Sender) tellStaleDevice(ctx context.Context, view *fleet.Device, now time.Time) error {
	device, err := s.parts.Fleet.Device(ctx, storage.ByID(view.DeviceID))
	if err != nil {
		return fmt.Errorf("find device: %w", err)
	}
	since := device.HeardAt().UTC()
	if device.IsRetired() || now.Sub(since) <= s.parts.Freshness {
		return nil // it was heard of, or ended, in the meantime
	}
	if !device.StaleTold.Equal(since) {
		message := aboutDevice(device, view.ComputerName, protocol.WebhookDeviceStale, now)
		message.ID = stableID(device.ID, protocol.WebhookDeviceStale, strconv.FormatInt(since.UnixNano(), 10))
		message.Data.Text = "The Mac has not checked in for longer than it should."
		message.Data.Detail = map[string]string{"last_heard_at": since.Format(time.RFC3339)}
		queued, err := message.queued(now.UTC(), storage.MaxOutgoingPerDevice)
		if err != nil {
			return err
		}
		device.StaleTold = since
		err = s.parts.Fleet.Save(ctx, storage.Change{Device: device, Outgoing: []storage.Outgoing{queued}})
		if errors.Is(err, storage.ErrConflict) {
			return nil // it checks in right now
		}
		if err != nil {
			return fmt.Errorf("keep message: %w", err)
		}
	}
	s.told[device.ID] = struct{}{}
	return nil
}
