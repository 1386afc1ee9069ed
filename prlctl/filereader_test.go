package prlctl

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// throughJSON gives what a reader tells of a file, as another process gets it.
func throughJSON(t *testing.T, reader string, content []byte) []byte {
	t.Helper()
	found, err := FileReaders()[reader](content)
	if err != nil {
		t.Fatal(err)
	}
	fields, err := json.Marshal(found)
	if err != nil {
		t.Fatal(err)
	}
	return fields
}

// What a process of the user's reads of a file is the same here as if the
// content had been read here, and the content is not in it (H60).
func TestH60_FieldsInsteadOfContent(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"VmInfo.pvi", "VmInfo-new.pvi", "VmInfo-27.pvi"} {
		content := sample(t, file)
		want, err := ReadVMInfo(content)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeVMInfo(throughJSON(t, InfoReader, content))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", file, err, diff)
		}
	}
	content := sample(t, "config.pvs")
	want, err := ReadConfigPVS(content)
	if err != nil {
		t.Fatal(err)
	}
	fields := throughJSON(t, ConfigReader, content)
	got, err := DecodeConfigPVS(fields)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("config.pvs: %v (-want +got):\n%s", err, diff)
	}
	secret := []byte("<!-- not for root --></ParallelsVirtualMachine>")
	marked := bytes.Replace(content, []byte("</ParallelsVirtualMachine>"), secret, 1)
	if again := throughJSON(t, ConfigReader, marked); bytes.Equal(marked, content) || !bytes.Equal(again, fields) {
		t.Errorf("what no reader reads leaves the process: %.200s", again)
	}
	digest, err := DecodeDigest(throughJSON(t, DigestReader, content))
	if err != nil || digest != ConfigDigest(content) {
		t.Errorf("digest %x, %v", digest, err)
	}
}

// A process of the user's may say anything: what no file could have is refused.
func TestH60_FieldsThatNoFileHas(t *testing.T) {
	t.Parallel()
	long := `"` + strings.Repeat("x", maxFileValue+1) + `"`
	word := `"` + strings.Repeat("1", maxConfigWord+1) + `"`
	info := func(fields []byte) error { _, err := DecodeVMInfo(fields); return err }
	config := func(fields []byte) error { _, err := DecodeConfigPVS(fields); return err }
	digest := func(fields []byte) error { _, err := DecodeDigest(fields); return err }
	cases := map[string]struct {
		decode func([]byte) error
		fields string
	}{
		"info: no JSON":           {info, "x"},
		"info: list":              {info, "[]"},
		"info: long name":         {info, `{"DeviceName":` + long + `}`},
		"info: long key":          {info, `{"UEFIPlatformKeySHA256":` + long + `}`},
		"config: no JSON":         {config, "{"},
		"config: no UUID":         {config, `{"VMUUID":"../../etc"}`},
		"config: braces":          {config, `{"SourceVMUUID":"{f11d8098-10fe-40d9-871e-27af1e66161e}"}`},
		"config: long text":       {config, `{"AssetID":` + long + `}`},
		"config: long key source": {config, `{"VMEncryptionInfo":{"SecretKeySourceType":` + long + `}}`},
		"config: long word":       {config, `{"AutoStart":` + word + `}`},
		"config: long kind":       {config, `{"Kind":` + word + `}`},
		"config: long mode":       {config, `{"Network":[{"Mode":` + word + `}]}`},
		"config: adapters":        {config, `{"Network":[` + strings.Repeat("{},", maxAdapters) + `{}]}`},
		"digest: no JSON":         {digest, "x"},
		"digest: number":          {digest, "7"},
		"digest: short":           {digest, `"00"`},
		"digest: no digits":       {digest, `"` + strings.Repeat("x", 64) + `"`},
	}
	for name, c := range cases {
		var invalid *Error
		if err := c.decode([]byte(c.fields)); !errors.As(err, &invalid) || invalid.Code != CodeFileInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeFields(f *testing.F) {
	f.Add([]byte(`{"RealOSType":"Microsoft Windows","RealOSTypeID":8,"VMUUID":"f11d8098-10fe-40d9-871e-27af1e66161e","Network":[{"Enabled":2,"Mode":"shared"}]}`))
	f.Add([]byte(`"0000000000000000000000000000000000000000000000000000000000000000"`))
	f.Fuzz(func(t *testing.T, fields []byte) {
		if info, err := DecodeVMInfo(fields); err == nil {
			if guest := info.Guest(); len(guest.Name) > maxFileValue {
				t.Errorf("a name of %d bytes", len(guest.Name))
			}
		}
		if config, err := DecodeConfigPVS(fields); err == nil && (len(config.Network) > maxAdapters || config.VMUUID != readUUID(config.VMUUID)) {
			t.Errorf("got %+v", config)
		}
		_, _ = DecodeDigest(fields)
	})
}
