package pluginhost

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/certwright/certwright/host/internal/sandbox"
	"github.com/certwright/certwright/sdk"
)

// Sandbox says how the process of an instance is confined.
type Sandbox struct {
	// Level that was asked for.
	Level sandbox.Level
	// Unconfined says why the process may do all that its user may; empty: it
	// is confined.
	Unconfined string
	// Confinement and what of it this kernel does not enforce.
	Confinement *sandbox.Confinement
	Shortfalls  []sandbox.Shortfall
}

// ParseLevel reads a level; empty is the default.
func ParseLevel(text string) (sandbox.Level, error) {
	if text == "" {
		return sandbox.BestEffort, nil
	}
	level := sandbox.Level(text)
	if !slices.Contains(sandbox.Levels(), level) {
		return "", fmt.Errorf("sandbox wants required, best-effort or off, not %q", text)
	}
	return level, nil
}

// SandboxOf says how an instance will be confined on a kernel, from what its plugin
// declares and from its settings. The error says why its level cannot be had.
func SandboxOf(k sandbox.Kernel, d sdk.Description, s Spec) (Sandbox, error) {
	level, err := ParseLevel(s.Sandbox)
	if err != nil {
		return Sandbox{}, fmt.Errorf("instance %s: %w", s.Name, err)
	}
	out := Sandbox{Level: level, Unconfined: whyUnconfined(d, s)}
	switch {
	case level == sandbox.Off:
		out.Unconfined = "sandbox: off"
		return out, nil
	case out.Unconfined != "" && level == sandbox.Required:
		return out, sdk.WithCode(sdk.Hint(fmt.Errorf("instance %s wants a sandbox (sandbox: required), and plugin %s has none here: %s", s.Name, d.Name, out.Unconfined),
			"use sandbox: best-effort if you trust the plugin and what it runs, or another plugin"), sdk.PermissionDenied)
	case out.Unconfined != "":
		return out, nil
	}
	c := confinement(d, s)
	out.Confinement, out.Shortfalls = &c, k.Shortfalls(c)
	if missing := k.Missing(); missing != "" && level == sandbox.Required {
		return out, sdk.WithCode(sdk.Hint(fmt.Errorf("instance %s wants a sandbox (sandbox: required), and this kernel cannot give it: %s", s.Name, missing),
			"run on a newer kernel with Landlock enabled, or use sandbox: best-effort and read what is missing in certwright doctor"), sdk.PermissionDenied)
	}
	return out, nil
}

// SandboxHere says how an instance is confined on this machine, or why it cannot
// be started as it is configured.
func SandboxHere(d sdk.Description, s Spec) (Sandbox, error) {
	box, err := SandboxOf(sandbox.ThisKernel(), d, s)
	if err == nil {
		_, err = userOf(d, s)
	}
	return box, err
}

// whyUnconfined is empty if the plugin has a sandbox with these settings.
func whyUnconfined(d sdk.Description, s Spec) string {
	p := d.Permissions
	if p.Unconfined {
		return "the plugin is unconfined: " + p.Reason
	}
	for _, name := range p.UnconfinedBy {
		_, secret := s.Secrets[name]
		if secret || slices.ContainsFunc(texts(s.Settings[name]), func(text string) bool { return text != "" }) {
			return "its setting " + name + " is given: " + p.Reason
		}
	}
	return ""
}

// confinement of a plugin with its settings: what it declares, and what every
// plugin may.
func confinement(d sdk.Description, s Spec) sandbox.Confinement {
	p := d.Permissions
	r := resolver{d, s.Settings}
	c := sandbox.Confinement{
		Read:        append(r.reads(p.Read), commonReads...),
		Write:       append(r.writes(p.Write), devNull),
		Execute:     r.reads(p.Execute),
		Connect:     r.ports(p.ConnectTCP),
		Bind:        r.ports(p.BindTCP),
		UDP:         p.UDP,
		UnixSockets: r.sockets(p.UnixSockets),
		Children:    p.Children,
		Signals:     p.Signals,
		Attributes:  len(p.Write) > 0,
	}
	if p.Children {
		c.Execute = append(c.Execute, programs...)
		c.Read = append(c.Read, childReads...)
	}
	return c
}

// devNull may be written to by everyone.
const devNull = "/dev/null"

// commonReads are what name resolution, TLS and times need. None holds a secret:
// /etc/ssl/private is not among them.
var commonReads = []string{
	"/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf", "/etc/nsswitch.conf", "/etc/services", "/etc/protocols",
	"/etc/localtime", "/usr/share/zoneinfo",
	"/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
	"/etc/pki/tls/certs", "/etc/pki/tls/cert.pem", "/etc/pki/tls/openssl.cnf", "/etc/pki/ca-trust/extracted",
	"/etc/ca-certificates/extracted", "/var/lib/ca-certificates", "/etc/crypto-policies", "/usr/share/crypto-policies",
	"/dev/urandom", "/dev/random", "/dev/zero",
}

// programs are where an operating system has its own programs and libraries.
var programs = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}

// loaderReads are what the dynamic loader reads.
var loaderReads = []string{"/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/ld.so.conf", "/etc/ld.so.conf.d"}

// childReads are what programs commonly want to know.
var childReads = append([]string{"/etc/passwd", "/etc/group"}, loaderReads...)

// policy is how a binary is launched with this sandbox.
func (b *binary) policy(args []string, s Sandbox) sandbox.Policy {
	p := sandbox.Policy{Path: b.path, Args: append([]string{b.path}, args...), Script: b.script}
	if s.Confinement == nil {
		return p
	}
	c := *s.Confinement
	switch {
	case b.script:
		c.Execute = append(append(slices.Clone(c.Execute), programs...), b.interpreter()...)
		c.Read = append(slices.Clone(c.Read), childReads...)
	case b.dynamic():
		c.Execute = append(slices.Clone(c.Execute), programs...)
		c.Read = append(slices.Clone(c.Read), loaderReads...)
	}
	p.Confinement, p.Kernel = &c, sandbox.ThisKernel()
	return p
}

// confined logs how an instance is confined on a kernel, as far as somebody should
// know. That the main part is missing is said to everybody, but once.
func (h *Host) confined(instance string, s Sandbox, k sandbox.Kernel) {
	log := h.log.Named(instance)
	if s.Confinement != nil && k.Landlock == 0 && runtime.GOOS == "linux" {
		h.noLandlock.Do(func() {
			h.log.Warn("this kernel has no Landlock, or it is not enabled: plugins may use every file that their user can use; `certwright doctor` lists what else is missing")
		})
	}
	switch {
	case s.Level == sandbox.Off:
		log.Warn("it runs WITHOUT A SANDBOX (sandbox: off): it may do all that its user may")
	case s.Unconfined != "":
		log.Debug("it has no sandbox", "reason", s.Unconfined)
	case len(s.Shortfalls) > 0:
		var can []string
		for _, shortfall := range s.Shortfalls {
			can = append(can, shortfall.String())
		}
		log.Debug("its sandbox is not whole on this kernel: it can " + strings.Join(can, "; "))
	}
}
