package secret_test

import (
	"testing"

	"prlagent/cmd/prlportal/secret"
)

func TestSecretIsRecognizedByItsHash(t *testing.T) {
	t.Parallel()
	one, other := secret.New(), secret.New()
	if len(one) != 43 || one == other {
		t.Errorf("secrets are %q and %q", one, other)
	}
	for name, test := range map[string]struct {
		text, hash string
		want       bool
	}{
		"itself":        {one, secret.Hash(one), true},
		"another":       {other, secret.Hash(one), false},
		"nothing":       {"", secret.Hash(one), false},
		"no hash":       {one, "", false},
		"its own text":  {one, one, false},
		"a known value": {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", true},
	} {
		if got := secret.Matches(test.text, test.hash); got != test.want {
			t.Errorf("%s: %t, want %t", name, got, test.want)
		}
	}
}
