package policy_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"prlagent/agent/policy"
	"prlagent/agent/protocol"
)

func TestParse(t *testing.T) {
	t.Parallel()
	const sound = `{"schema":1,"policy_id":"finance","revision":7,"name":"Finance","groups":["finance"],
		"vm_settings":{"other":{"no_share_mac_folders":false}},"of_tomorrow":{"x":1}}`
	for name, test := range map[string]struct {
		data string
		want error
	}{
		"a sound document":                {sound, nil},
		"unknown members are ignored":     {`{"schema":1,"policy_id":"a","revision":1,"name":"A","groups":[],"x":[1]}`, nil},
		"null deep inside is refused":     {strings.Replace(sound, "false", "null", 1), policy.ErrInvalid},
		"another schema is refused":       {strings.Replace(sound, `"schema":1`, `"schema":2`, 1), policy.ErrInvalid},
		"a nameless document is refused":  {strings.Replace(sound, `"Finance"`, `" "`, 1), policy.ErrInvalid},
		"a duplicate key is refused":      {strings.Replace(sound, `"revision":7`, `"revision":7,"revision":8`, 1), policy.ErrInvalid},
		"an unknown feature is refused":   {strings.Replace(sound, `"groups"`, `"requires":["time_travel"],"groups"`, 1), policy.ErrUnsupported},
		"half a document is refused":      {sound[:60], policy.ErrInvalid},
		"an empty document is refused":    {"", policy.ErrInvalid},
		"a document too large is refused": {sound + strings.Repeat(" ", 256<<10), policy.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			document, err := policy.Parse([]byte(test.data))
			if !errors.Is(err, test.want) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
			if err != nil && document != nil {
				t.Error("a refused document still returned content")
			}
		})
	}
}

// Every refusal says where it is and has a code of its own.
func TestErrorsOfADocumentSayWhere(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"a":`, 15) + `{"b":{"c":1}}` + strings.Repeat("}", 15)
	image := `"golden_image":{"id":"win11","name":"Windows 11","images":{"arm64":{"url":"https://x.example/a.pvmp","sha256":"` + strings.Repeat("a", 64) + `","format":"pvmp"}}}`
	for _, c := range []struct{ name, members, want string }{
		{"nothing", ``, ""},
		{"no JSON", `"name2":tru`, "name2 policy_syntax"},
		{"null", `"vm_settings":{"other":{"network":null}}`, "vm_settings.other.network policy_null"},
		{"null in a list", `"groups":["a",null]`, "groups[1] policy_null"},
		{"a key twice", `"vm_settings":{"other":{"network":"shared","network":"shared"}}`, "vm_settings.other.network policy_duplicate_key"},
		{"a key twice in another case", `"vm_settings":{"other":{"network":"shared","Network":"shared"}}`, "vm_settings.other.Network policy_duplicate_key"},
		{"too deep", `"x":` + deep, "x" + strings.Repeat(".a", 15) + " policy_too_deep"},
		{"too large", `"x":"` + strings.Repeat("y", 256<<10) + `"`, " policy_too_large"},
		{"a scope that is a list", `"vm_settings":{"golden_image":[]}`, "vm_settings.golden_image policy_wrong_type"},
		{"true in quotes", `"vm_settings":{"other":{"no_smart_cards":"true"}}`, "vm_settings.other.no_smart_cards policy_wrong_type"},
		{"a word without quotes", `"vm_settings":{"other":{"network":true}}`, "vm_settings.other.network policy_wrong_type"},
		{"a word that is none", `"vm_settings":{"other":{"network":"vpn"}}`, "vm_settings.other.network policy_wrong_value"},
		{"a value that the setting does not take", `"vm_settings":{"other":{"vtpm":false}}`, "vm_settings.other.vtpm policy_wrong_value"},
		{"a number out of bounds", `"vm_settings":{"other":{"max_cpus":0}}`, "vm_settings.other.max_cpus policy_wrong_value"},
		{"a fraction", `"vm_settings":{"other":{"max_cpus":1.5}}`, "vm_settings.other.max_cpus policy_wrong_value"},
		{"a number of another spelling", `"vm_settings":{"other":{"max_cpus":1e1}}`, "vm_settings.other.max_cpus policy_wrong_value"},
		{"H13 a text that a tool could take for an option", `"vm_settings":{"other":{"asset_tag":"--autostart"}}`, "vm_settings.other.asset_tag policy_wrong_value"},
		{"a text with a line end", `"vm_settings":{"other":{"asset_tag":"a\nb"}}`, "vm_settings.other.asset_tag policy_wrong_value"},
		{"a wait without end", `"vm_settings":{"max_wait_h":0}`, "vm_settings.max_wait_h policy_wrong_value"},
		{"a word of on_unsupported", `"vm_settings":{"on_unsupported":"guess"}`, "vm_settings.on_unsupported policy_wrong_value"},
		{"a control that is a word", `"security_controls":{"no_removal":"on"}`, "security_controls.no_removal policy_wrong_type"},
		{"a control that is null", `"security_controls":{"no_removal":null}`, "security_controls.no_removal policy_null"},
		{"H42 a violation is never deleted", `"security_controls":{"on_violation":"delete"}`, "security_controls.on_violation policy_wrong_value"},
		{"a grace that is none", `"security_controls":{"grace_s":0}`, "security_controls.grace_s policy_wrong_value"},
		{"controls that are a list", `"security_controls":["no_removal"]`, "security_controls policy_wrong_type"},
		{"H63 a group that is a path", `"groups":["../x"]`, "groups[0] policy_wrong_value"},
		{"two that want different things of one flag", `"vm_settings":{"other":{"no_share_mac_folders":true,"smart_mount":true}}`, "vm_settings.other.smart_mount policy_conflict"},
		{"two that want the same", `"vm_settings":{"other":{"no_share_mac_folders":true,"smart_mount":false}}`, ""},
		{"an unknown feature", `"requires":["time_travel"]`, "requires[0] unsupported_feature"},
		{"adopted by a name that any user can give", `"adopt":{"bundle_names":["*"]}`, "adopt.first_seen_before policy_missing_member"},
		{"an adopted id that is none", `"adopt":{"vm_ids":["Windows"]}`, "adopt.vm_ids[0] policy_wrong_value"},
		{"a date that is none", `"adopt":{"first_seen_before":"tomorrow"}`, "adopt.first_seen_before policy_wrong_value"},
		{"a golden image", image, ""},
		{"POL-02 an image without a checksum", strings.Replace(image, `"sha256":"`+strings.Repeat("a", 64)+`",`, "", 1), "golden_image.images.arm64.sha256 policy_missing_member"},
		{"POL-02 an image without a name", strings.Replace(image, `"name":"Windows 11",`, "", 1), "golden_image.name policy_missing_member"},
		{"POL-02 a checksum that is none", strings.Replace(image, strings.Repeat("a", 64), "ABC", 1), "golden_image.images.arm64.sha256 policy_wrong_value"},
		{"POL-06 two golden images", `"golden_image":[{},{}]`, "golden_image policy_wrong_type"},
		{"an image without encryption on its way", strings.Replace(image, "https", "http", 1), "golden_image.images.arm64.url policy_wrong_value"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			text := `{"schema":1,"policy_id":"a","revision":1,"name":"A"`
			if c.members != "" {
				text += "," + c.members
			}
			_, problems := policy.Check([]byte(text + "}"))
			var got []string
			for _, problem := range problems {
				got = append(got, problem.Path+" "+string(problem.Code))
				if protocol.CodeOf(problem) != problem.Code || problem.Detail == "" || len(problem.Error()) > 400 {
					t.Errorf("problem %+v", problem)
				}
			}
			if strings.Join(got, ", ") != c.want {
				t.Errorf("problems %q, want %q", got, c.want)
			}
		})
	}
}

func TestCheckSaysEverything(t *testing.T) {
	t.Parallel()
	_, problems := policy.Check([]byte(`{"schema":1,"revision":0,"vm_settings":{"other":{"network":"vpn","startup":1}}}`))
	var got []string
	for _, problem := range problems {
		got = append(got, problem.Path)
	}
	want := []string{"revision", "vm_settings.other.network", "vm_settings.other.startup", "policy_id", "name"}
	if !slices.Equal(got, want) {
		t.Errorf("problems at %q, want %q", got, want)
	}
	_, problems = policy.Check([]byte(`{"groups":[` + strings.Repeat("1,", 1000) + `1]}`))
	if len(problems) > 64 {
		t.Errorf("%d problems", len(problems))
	}
}

func TestDocumentIsReadAsItIs(t *testing.T) {
	t.Parallel()
	read := document(t, `"description":"For all","of_tomorrow":1,"security_controls":{"no_removal":true,"no_lending":true,"no_major_upgrade":false,"on_violation":"suspend","grace_s":60},
		"vm_settings":{"beyond_guide":true,"on_unsupported":"stricter","max_wait_h":48,"remind_every_weeks":2,"later":{},
			"golden_image":{},"other":{"network":"host_only","no_smart_cards":false,"max_cpus":4,"of_tomorrow":[1]}},
		"adopt":{"vm_ids":["F11D8098-10FE-40D9-871E-27AF1E66161E"],"first_seen_before":"2026-03-01","bundle_names":["Corp*"]}`)
	settings := read.VMSettings
	if !settings.GoldenImage.Managed || len(settings.GoldenImage.Settings) != 0 || !settings.BeyondGuide || settings.OnUnsupported != policy.Stricter ||
		settings.MaxWait != 48*time.Hour || settings.RemindEvery != 14*24*time.Hour {
		t.Errorf("settings %+v", settings)
	}
	// VMS-34: false is a value, and absent is none.
	wanted := settings.Other.Settings
	if _, managed := wanted["clipboard"]; managed || wanted["no_smart_cards"] != policy.False || wanted["network"] != "host_only" || wanted["max_cpus"] != "4" {
		t.Errorf("other %+v", wanted)
	}
	if !slices.Equal(settings.Other.Unknown, []string{"of_tomorrow"}) || !slices.Equal(read.NotCarriedOut, []string{"security_controls.no_lending"}) {
		t.Errorf("unknown %q, not carried out %q", settings.Other.Unknown, read.NotCarriedOut)
	}
	controls := read.SecurityControls
	if !maps.Equal(controls.Set, map[string]bool{"no_removal": true, "no_major_upgrade": false}) || controls.OnViolation != policy.Suspend || controls.Grace != time.Minute {
		t.Errorf("controls %+v", controls)
	}
	var ignored []string
	for _, problem := range read.Ignored {
		ignored = append(ignored, problem.Path+" "+string(problem.Code))
	}
	if want := []string{"of_tomorrow policy_unknown_member", "vm_settings.later policy_unknown_member"}; !slices.Equal(ignored, want) {
		t.Errorf("ignored %q, want %q", ignored, want)
	}
	if !read.InGroup("finance") || read.InGroup("sales") || read.Adopt.VMIDs[0] != "f11d8098-10fe-40d9-871e-27af1e66161e" {
		t.Errorf("groups %q, adopted %+v", read.Groups, read.Adopt)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"schema":1,"policy_id":"a","revision":1,"name":"A","groups":[]}`))
	f.Add([]byte(`{"schema":1,"a":null}`))
	f.Add([]byte(`[[[[[[[[[[[[[[[[[[[[`))
	f.Add([]byte(`{"schema":1,"policy_id":"a","revision":1,"name":"A","vm_settings":{"other":{"network":"shared","asset_tag":"a-1","max_cpus":2,"x":{}}},"adopt":{"vm_ids":["f11d8098-10fe-40d9-871e-27af1e66161e"],"first_seen_before":"2026-01-01"}}`))
	f.Add([]byte(`{"golden_image":{"id":"a","name":"b","images":{"arm64":{"url":"https://a","sha256":"","format":"zip","mirrors":["x"]}},"download":{"max_kbps":1}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		document, err := policy.Parse(data)
		if err != nil {
			if !errors.Is(err, policy.ErrInvalid) && !errors.Is(err, policy.ErrUnsupported) || protocol.CodeOf(err) == "" {
				t.Errorf("refused by %v", err)
			}
			return
		}
		if document.PolicyID == "" || document.Revision == 0 {
			t.Error("accepted a document without identity")
		}
		// Whatever is accepted can be planned, and no value becomes an option.
		result := plan(document, machineOf(t, windowsVM, isStopped))
		for _, step := range result.Steps {
			for _, argument := range step.Args {
				if argument == "" || strings.ContainsAny(argument, "\x00\n") {
					t.Errorf("argument %q", argument)
				}
			}
		}
	})
}
