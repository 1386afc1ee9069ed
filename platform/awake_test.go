package platform

import "testing"

func TestAwakeTime(t *testing.T) {
	t.Parallel()
	boot, first, err := AwakeTime()
	if err != nil || boot == "" || first <= 0 {
		t.Fatalf("boot %q, awake for %v, %v", boot, first, err)
	}
	again, second, err := AwakeTime()
	if err != nil || again != boot || second < first {
		t.Errorf("boot %q after %q, %v after %v, %v", again, boot, second, first, err)
	}
}
