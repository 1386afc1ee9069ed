package site

import (
	"time"
)

// RestoredFile has, in the portal's folder, when it was made of a backup. Macs that
// report for the first time after that may be ahead of it (H30).
const RestoredFile = "restored.json"

type restored struct {
	At time.Time `json:"restored_at"`
}

// LoadRestored is when the folder was made of a backup; zero if it never was.
func LoadRestored(folder string) (time.Time, error) {
	var mark restored
	err := readRecord(folder, RestoredFile, &mark)
	return mark.At, err
}

// SaveRestored notes that the folder is made of a backup.
func SaveRestored(folder string, now time.Time) error {
	return writeRecord(folder, RestoredFile, restored{At: now.UTC()})
}
