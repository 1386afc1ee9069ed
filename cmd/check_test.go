package cmd_test

import "testing"

// TestNegativeAssertions: what `! json` takes for a proof, and what not.
func TestNegativeAssertions(t *testing.T) {
	t.Parallel()
	const document = `{"rows": [{"name": "macOS", "code": "", "gaps": {}}, {"name": "Lab", "code": "late"}], "seen": null, "at": 5}`
	cases := []struct {
		name   string
		path   string
		wanted []string
		holds  bool
	}{
		{"no such value in what is there", ".rows[name=macOS].gaps.cpu", nil, true},
		{"no such value in the whole document", ".code", nil, true},
		{"an empty value", ".rows[name=macOS].code", nil, true},
		{"null", ".seen", nil, true},
		{"a value that is there", ".rows[name=Lab].code", nil, false},
		{"what it would be in is not there", ".rows[name=Lab].gaps.cpu", nil, false},
		{"what it would be in is misspelled", ".row[name=macOS].code", nil, false},
		{"what it would be in is a number", ".at.code.text", nil, false},
		{"a path that makes no sense", ".rows[name=macOS]code", nil, false},
		{"another value", ".rows[name=Lab].code", []string{"early"}, true},
		{"the same value", ".rows[name=Lab].code", []string{"late"}, false},
		{"a value that is not there is not another one", ".rows[name=Lab].codes", []string{"early"}, false},
		{"what cannot be compared", ".rows[name=Lab].code", []string{">5"}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := checkNot(document, c.path, c.wanted...); (err == nil) != c.holds {
				t.Errorf("! json %s %v: %v", c.path, c.wanted, err)
			}
		})
	}
	if checkNot("no JSON", ".code") == nil {
		t.Error("what is no JSON proves nothing")
	}
}
