package sim

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// xargs gives a tool what it reads as an argument that neither it nor sudo has, and
// nothing to read; its exit code says no more than whether the tool's was 0.
func TestXargsKeepsASecretFromOtherPrograms(t *testing.T) {
	t.Parallel()
	mac := macAssuming(t, "userpasswd_prompt=not_asked")
	if err := os.WriteFile(mac.Path(StartsFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	id := idOf(t, mac, "alice", "Windows 11")
	asUser := func(input string, program ...string) (stdout, stderr string, code int) {
		command := toolCommand(mac, "/usr/bin/sudo", append([]string{"-n", "-H", "-u", "#501", "/usr/bin/xargs"}, program...)...)
		var out, complaints bytes.Buffer
		command.Stdin, command.Stdout, command.Stderr = strings.NewReader(input), &out, &complaints
		err := command.Run()
		var ended *exec.ExitError
		if errors.As(err, &ended) {
			code = ended.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		return out.String(), complaints.String(), code
	}
	set := []string{"-0", appTools + "/prlctl", "set", id, "--userpasswd"}
	if stdout, stderr, code := asUser("user:a secret\x00", set...); code != 0 || !strings.Contains(stdout, "successfully configured") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	if _, stderr, code := asUser("user\x00", set...); code != 1 || !strings.Contains(stderr, "exited with status 255") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if _, _, code := asUser("x", appTools+"/prlctl"); code != 1 {
		t.Errorf("without -0: exit code %d", code)
	}
	starts, err := os.ReadFile(mac.Path(StartsFile))
	if err != nil {
		t.Fatal(err)
	}
	holders := 0
	for line := range strings.Lines(string(starts)) {
		if strings.Contains(line, "a secret") {
			holders++
			if !strings.HasPrefix(line, `{"tool":"prlctl"`) {
				t.Errorf("the secret is in %s", line)
			}
		}
	}
	if holders != 1 {
		t.Errorf("%d programs had the secret:\n%s", holders, starts)
	}
}
