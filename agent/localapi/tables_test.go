package localapi

import "testing"

// The first row of a table that fits is taken: one behind it with the same key would
// never be.
func TestTablesHaveEachKeyOnce(t *testing.T) {
	t.Parallel()
	for i := range apiEndpoints {
		if endpointAt(apiEndpoints[i].path) != &apiEndpoints[i] {
			t.Errorf("%s is there twice", apiEndpoints[i].path)
		}
	}
	for _, state := range unansweredStates {
		if word := UnansweredState(&Error{Code: state.code}); word != state.word {
			t.Errorf("%s is %q and %q", state.code, state.word, word)
		}
		if code := UnansweredCode(state.word); code != state.code {
			t.Errorf("%s is of %s and %s", state.word, state.code, code)
		}
	}
}
