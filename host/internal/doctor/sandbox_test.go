package doctor

import "testing"

func TestSandbox(t *testing.T) {
	want(t, []Finding{Kernel(7, true)}, OK, "Landlock ABI 7 and seccomp")
	want(t, []Finding{Kernel(0, true)}, Warning, "no Landlock")
	want(t, []Finding{Kernel(6, false)}, Warning, "no seccomp filter")
	want(t, []Finding{Kernel(0, false)}, Warning, "cannot confine")
	want(t, []Finding{Sandbox("web", "required", "", nil)}, OK, "web is confined (required)")
	want(t, []Finding{Sandbox("web", "best-effort", "", []string{"fly", "dive"})}, OK, "on this kernel it can still fly; dive")
	want(t, []Finding{Sandbox("web", "best-effort", "its nature", nil)}, OK, "web has no sandbox: its nature")
	want(t, []Finding{Sandbox("web", "off", "sandbox: off", nil)}, Warning, "switched off")
}
