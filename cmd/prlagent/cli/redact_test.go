package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"prlagent/platform/text"
)

// H62: a secret that nobody told us is known by the name before it, however it is
// written, in a line of the log as well, where quotes are in quotes.
func TestH62_WhatIsCalledASecretIsHidden(t *testing.T) {
	t.Parallel()
	const secret = "UnKnOwN.zyxwvutsrqponm98765"
	redactor := bundleRedactor{known: text.NewRedactor()}
	for _, said := range []string{
		"EnrollmentSecret=" + secret, "device_token: " + secret, "ProxyPassword: '" + secret + "'", `"access_token":"` + secret + `"`,
		`{"token": "` + secret + `", "a": 1}`, "https://h/x?access_token=" + secret + "&client_secret=" + secret, "api_key=" + secret, "license-key: " + secret,
		"Proxy-Authorization: Negotiate " + secret, "authorization: Bearer " + secret, `password: "two words ` + secret + `"`, "passphrase = " + secret,
		"http://" + secret + "@proxy/", "--password=" + secret, `"quoted_secret":"a\"` + secret + `"`, "credentials: " + secret, "AUTH_TOKEN=" + secret + ", next",
	} {
		once, _ := json.Marshal(map[string]string{"message": said}) // as a record
		twice, _ := json.Marshal(map[string]string{"message": string(once)})
		for _, form := range []string{said, string(once), string(twice)} {
			shown := string(redactor.redact([]byte(form)))
			if strings.Contains(shown, secret) && !(strings.Contains(said, `a\"`) && form != said) {
				t.Errorf("%s is shown as %s", form, shown)
			}
			var document map[string]string
			if form != said && json.Unmarshal([]byte(shown), &document) != nil {
				t.Errorf("%s is no JSON any more: %s", form, shown)
			}
		}
	}
	for _, harmless := range []string{
		`{"key":"EnrollmentSecret","value":"` + text.HiddenSecret + `","source":"managed"}`, `{"token":"","next":"word"}`,
		"no secret is in it", `{"id":"license_connect","title":"The license host takes connections","outcome":"ok"}`, "2 tokens, 3 keys",
	} {
		if shown := string(redactor.redact([]byte(harmless))); shown != harmless {
			t.Errorf("%s became %s", harmless, shown)
		}
	}
}
