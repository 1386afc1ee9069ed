package command

import (
	"prlagent/agent/protocol"
	"prlagent/store"
)

// PlacedIn counts, of what the store has, the machines that are held and the autostarts
// of machines that are to be put back (H29).
func PlacedIn(tx *store.Tx) (held, autostarts int, err error) {
	records := make(map[protocol.VMKey]*holdRecord)
	err = holdRecords.Each(tx, func(_ string, record *holdRecord) error {
		if records[record.VMKey] = record; record.Autostart != "" {
			autostarts++
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	var kept keptList
	found, err := holdLists.Get(tx, holdListKey, &kept)
	if err != nil || !found {
		return 0, autostarts, err
	}
	signed, err := keptHolds(&kept.Envelope)
	if err != nil {
		return 0, 0, err
	}
	for i := range signed.list.Holds {
		one := &signed.list.Holds[i]
		if record := records[one.VMKey]; record == nil || !record.isAbout(one) || !record.isOver() {
			held++
		}
	}
	return held, autostarts, nil
}
