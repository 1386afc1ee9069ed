package schema_test

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"prlagent/agent/policy"
	"prlagent/agent/policy/schema"
	"prlagent/agent/protocol"
)

var update = flag.Bool("update", false, "write the golden file anew")

const golden = "../../../testdata/contract/policy.schema.json"

func TestPolicyGolden(t *testing.T) {
	t.Parallel()
	got, err := schema.Policy()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the schema differs from %s; with -update it is written anew:\n%s", golden, got)
	}
}

// compiled is the schema, read by another library than the one that makes it.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	data, err := schema.Policy()
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("policy.json", document); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("policy.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

// The schema and the reader agree on every document, but for what a schema
// cannot say.
func TestSchemaAgreesWithTheReader(t *testing.T) {
	t.Parallel()
	compiled := compiled(t)
	sum := strings.Repeat("a", 64)
	members := []string{
		``, `,"groups":["a","b-1"]`, `,"groups":["../a"]`, `,"groups":"a"`, `,"revision":0`, `,"x":1`, `,"description":1`, `,"requires":[]`,
		`,"security_controls":{"no_removal":true}`, `,"security_controls":[]`, `,"security_controls":{"no_removal":1}`, `,"security_controls":{"provisioned_only":true,"on_violation":"suspend","grace_s":60}`,
		`,"security_controls":{"on_violation":"delete"}`, `,"security_controls":{"grace_s":0}`, `,"security_controls":{"grace_s":604801}`,
		`,"vm_settings":{}`, `,"vm_settings":{"x":{}}`, `,"vm_settings":{"golden_image":{},"beyond_guide":true,"on_unsupported":"leave","max_wait_h":8760,"remind_every_weeks":0}`,
		`,"vm_settings":{"beyond_guide":"yes"}`, `,"vm_settings":{"on_unsupported":""}`, `,"vm_settings":{"max_wait_h":0}`, `,"vm_settings":{"remind_every_weeks":53}`,
		`,"adopt":{"vm_ids":["f11d8098-10fe-40d9-871e-27af1e66161e"],"first_seen_before":"2026-01-31","bundle_names":["a*"]}`,
		`,"adopt":{"bundle_names":["a*"]}`, `,"adopt":{"vm_ids":["x"]}`, `,"adopt":{"first_seen_before":"soon"}`,
		`,"golden_image":{"id":"a","name":"A","images":{"arm64":{"url":"https://x.example/a","sha256":"` + sum + `","format":"zip","size":1,"mirrors":["https://y.example"]}},"rollout_percent":5,"download":{"max_kbps":1,"window":"night"}}`,
		`,"golden_image":{"id":"a","name":"A","images":{"arm64":{"url":"https://x.example/a","format":"zip"}}}`,
		`,"golden_image":{"id":"a","name":"A","images":{"arm64":{"url":"http://x.example/a","sha256":"` + sum + `","format":"zip"}}}`,
		`,"golden_image":{"id":"a","name":"A","images":{}}`, `,"golden_image":{"id":"a","images":{"mips":{}}}`, `,"golden_image":[{}]`,
	}
	values := []string{`true`, `false`, `null`, `"shared"`, `"manual"`, `"disconnect"`, `"low"`, `"x y"`, `"-x"`, `""`, `0`, `1`, `4096`, `1.5`, `1e99`, `[]`, `{}`, `"` + strings.Repeat("a", 65) + `"`}
	for i := range policy.Settings {
		for _, value := range values {
			members = append(members, `,"vm_settings":{"other":{"`+policy.Settings[i].Name+`":`+value+`}}`)
		}
	}
	members = append(members, `,"vm_settings":{"other":{"of_tomorrow":true}}`)
	values = append(values, `"None"`, `"none"`, `"Parallels"`, `"pro"`, `"never"`, `"hidden"`, `"sso"`, `"SSO"`, `"https://x.example/v{major}/a?b=1&c"`, `"http://x.example"`,
		`"ftp://x.example"`, `"https://a b"`, `"https://x.example/`+strings.Repeat("a", 1024)+`"`)
	for i := range policy.Preferences {
		for _, value := range values {
			members = append(members, `,"product":{"`+policy.Preferences[i].Name+`":`+value+`}`)
		}
	}
	members = append(members, `,"product":{}`, `,"product":[]`, `,"product":{"of_tomorrow":true}`, `,"product":{"on_existing":"keep"}`, `,"product":{"on_existing":"adopt"}`,
		`,"product":{"update_policy":"None","update_branch":"pro"}`)
	accepted := 0
	for _, member := range members {
		revision := `"revision":1,`
		if strings.Contains(member, `"revision"`) {
			revision = ""
		}
		text := `{"schema":1,"policy_id":"a",` + revision + `"name":"A"` + member + `}`
		instance, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		document, problems := policy.Check([]byte(text))
		read := len(problems)+len(document.Ignored)+len(document.VMSettings.Other.Unknown)+len(document.Product.Unknown) == 0
		valid := compiled.Validate(instance) == nil
		if read != valid {
			t.Errorf("%s: read %t (%v), valid by the schema %t", text, read, problems, valid)
		}
		if valid {
			accepted++
		}
	}
	if accepted < len(policy.Settings) || accepted > len(members)/2 {
		t.Errorf("%d of %d documents are accepted", accepted, len(members))
	}
}

// The conflict of two settings is one of the things that only the reader knows.
func TestConflictsAreTheReaders(t *testing.T) {
	t.Parallel()
	_, problems := policy.Check([]byte(`{"schema":1,"policy_id":"a","revision":1,"name":"A","vm_settings":{"other":{"no_share_mac_folders":true,"smart_mount":true}}}`))
	if len(problems) != 1 || problems[0].Code != protocol.CodePolicyConflict {
		t.Errorf("problems %v", problems)
	}
}
