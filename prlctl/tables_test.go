package prlctl

import "testing"

// The first row of a table that fits is taken: one behind it with the same key would
// never be.
func TestTablesHaveEachKeyOnce(t *testing.T) {
	t.Parallel()
	seen := make(map[any]bool)
	once := func(key any) {
		if seen[key] {
			t.Errorf("%v is there twice", key)
		}
		seen[key] = true
	}
	for _, edition := range windowsEditions {
		once(edition.number)
	}
	for _, since := range keysSince {
		once(since.path)
	}
	wordTables := []numberWords{networkModes, networkCards}
	for _, setting := range configWords {
		once(setting.element)
		wordTables = append(wordTables, setting.words)
	}
	for _, table := range wordTables {
		clear(seen)
		for _, row := range table {
			once(row.number)
		}
	}
}
