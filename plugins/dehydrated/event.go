package main

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certwright/certwright/sdk"
)

// Run makes of an event the calls that dehydrated makes at that moment.
func (d *dehydrated) Run(ctx context.Context, e sdk.HookEvent, r sdk.Reporter) (sdk.HookResult, error) {
	var result sdk.HookResult
	var err error
	switch e.Event {
	case sdk.EventStart:
		if err = d.call(ctx, r, probe); err == nil {
			err = d.call(ctx, r, "startup_hook")
		}
	case sdk.EventCSR:
		result.CSR, err = d.generate(ctx, e, r)
	case sdk.EventUnchanged:
		if _, err = d.generate(ctx, e, r); err == nil {
			err = d.call(ctx, r, "unchanged_cert", first(e), e.Paths.Privkey, e.Paths.Cert, e.Paths.Fullchain, e.Paths.Chain)
		}
	case sdk.EventChallengeInvalid:
		if e.Challenge != nil {
			err = d.call(ctx, r, "invalid_challenge", domain(*e.Challenge), flattened(e.Challenge.RawJSON))
		}
	case sdk.EventCAFailure:
		if len(e.Identifiers) > 0 { // an order was on its way
			d.export("altnames", strings.Join(names(e.Identifiers), " "))
		}
		err = d.call(ctx, r, "request_failure", strconv.Itoa(e.HTTPStatus), string(e.HTTPBody), strings.ToLower(e.HTTPMethod), headers(e))
	case sdk.EventIssued:
		err = d.sync(ctx, e, r)
	case sdk.EventSuccess:
		err = d.deploy(ctx, e.Lineage, first(e), e.Paths, e.LeafPEM, r)
	case sdk.EventFinish:
		d.finish(ctx, e, r)
	}
	return result, err
}

func first(e sdk.HookEvent) string {
	if len(e.Identifiers) == 0 {
		return e.Lineage
	}
	return e.Identifiers[0].String()
}

// certificate notes that a certificate is worked on; keyType may be unknown.
func (d *dehydrated) certificate(lineage, keyType string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.began[lineage]; !ok {
		d.began[lineage] = time.Now()
	}
	if lineage != "" {
		d.exported["alias"] = lineage
	}
	if algo := keyAlgo(keyType); algo != "" {
		d.exported["KEY_ALGO"] = algo
	} else if d.exported["KEY_ALGO"] == "" {
		d.exported["KEY_ALGO"] = d.config.keyAlgo
	}
	d.exported["PRIVATE_KEY_ROLLOVER"] = d.config.keyRollover
}

// keyAlgo is a key type in dehydrated's words.
func keyAlgo(keyType string) string {
	switch {
	case keyType == "p256":
		return "prime256v1"
	case keyType == "p384":
		return "secp384r1"
	case strings.HasPrefix(keyType, "rsa"):
		return "rsa"
	}
	return keyType
}

// generate begins with a certificate: the hook may bring its request.
func (d *dehydrated) generate(ctx context.Context, e sdk.HookEvent, r sdk.Reporter) ([]byte, error) {
	d.export("alias", e.Lineage)
	if err := d.call(ctx, r, probe); err != nil {
		return nil, err
	}
	d.certificate(e.Lineage, e.KeyType)
	types, err := d.types()
	if err != nil {
		return nil, err
	}
	d.export("CHALLENGETYPE", types[0])
	all := names(e.Identifiers)
	rest := ""
	if len(all) > 1 {
		rest = strings.Join(all[1:], " ")
	}
	// With one name there is a space behind it.
	out, err := d.run(ctx, r, false, "generate_csr", first(e), filepath.Join(d.config.certDir, e.Lineage), first(e)+" "+rest)
	if err != nil {
		return nil, err
	}
	for block, more := pem.Decode([]byte(out)); block != nil; block, more = pem.Decode(more) {
		if block.Type == "CERTIFICATE REQUEST" || block.Type == "NEW CERTIFICATE REQUEST" {
			return block.Bytes, nil
		}
	}
	if strings.Contains(out, "CERTIFICATE REQUEST-----") {
		p := sdk.Problemf(sdk.InvalidConfig, "what generate_csr printed is no certificate request that can be read")
		return nil, sdk.Hint(p, "let it print the request as PEM on standard output")
	}
	return nil, nil
}

// sync tells where the new version is before live/ leads to it, with its request.
func (d *dehydrated) sync(ctx context.Context, e sdk.HookEvent, r sdk.Reporter) error {
	if d.hook == "" {
		return nil
	}
	dir := filepath.Join(d.instance.StateDir, "csr")
	path := filepath.Join(dir, fmt.Sprintf("%x.csr", e.Lineage))
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: e.CSR}), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the request for sync_cert: %w", err)
	}
	return d.call(ctx, r, "sync_cert", e.Paths.Privkey, e.Paths.Cert, e.Paths.Fullchain, e.Paths.Chain, path)
}

// deploy calls deploy_cert once for a certificate, whether it is told by an event
// or as a target, and remembers what came of it.
func (d *dehydrated) deploy(ctx context.Context, lineage, name string, paths sdk.Paths, leaf []byte, r sdk.Reporter) error {
	d.mu.Lock()
	last, ok := d.told[lineage]
	began, known := d.began[lineage]
	d.mu.Unlock()
	if ok && last.leaf == string(leaf) {
		return last.err
	}
	if !known {
		began = time.Now()
	}
	err := d.call(ctx, r, "deploy_cert", name, paths.Privkey, paths.Cert, paths.Fullchain, paths.Chain, strconv.FormatInt(began.Unix(), 10))
	if ctx.Err() == nil {
		d.mu.Lock()
		d.told[lineage] = told{string(leaf), err}
		d.mu.Unlock()
	}
	return err
}

// finish tells how it ended. What exit_hook says to it is only shown.
func (d *dehydrated) finish(ctx context.Context, e sdk.HookEvent, r sdk.Reporter) {
	var args []string
	if e.Outcome != "ok" {
		text := strings.Join(e.Messages, "\n")
		if text == "" && e.Problem != nil {
			text = e.Problem.Error()
		}
		args = []string{text}
	}
	if err := d.call(ctx, r, "exit_hook", args...); err != nil {
		r.Say(sdk.Stderr, fmt.Sprintf("warning: %v\n", err))
	}
}

// headers are those of an answer as they stand on the wire.
func headers(e sdk.HookEvent) string {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/2 %d \r\n", e.HTTPStatus)
	for _, h := range e.HTTPHeaders {
		fmt.Fprintf(&b, "%s: %s\r\n", strings.ToLower(h.Name), h.Value)
	}
	return b.String() + "\r"
}

// Deploy notes a certificate; Restart calls deploy_cert for it.
func (d *dehydrated) Deploy(_ context.Context, deployment sdk.Deployment, r sdk.Reporter) error {
	if d.hook == "" {
		err := sdk.Permanent(sdk.Problemf(sdk.InvalidConfig, "a certificate is deployed by a hook script, and there is none"))
		return sdk.Hint(sdk.Subject(err, "hook"), "give its path in the setting hook, or as HOOK in the config file")
	}
	if !deployment.DryRun {
		d.mu.Lock()
		d.staged[deployment.Lineage] = deployment
		d.mu.Unlock()
	}
	r.Result(sdk.Result{Subject: deployment.Name, Changed: !deployment.DryRun})
	return nil
}

// Save has nothing to write: what a hook does it does at once.
func (d *dehydrated) Save(_ context.Context, req sdk.SaveRequest, _ sdk.Reporter) (sdk.Checkpoint, error) {
	return sdk.Checkpoint{Title: req.Title}, nil
}

// Restart calls deploy_cert for what was noted since the last time.
func (d *dehydrated) Restart(ctx context.Context, r sdk.Reporter) error {
	op := sdk.OperationFrom(ctx)
	var errs []error
	for _, deployment := range d.take(op.Lineage) {
		name := deployment.Name
		if len(deployment.Names) > 0 {
			name = deployment.Names[0]
		}
		d.signing(sdk.Operation{Lineage: deployment.Lineage}, nil)
		d.export("altnames", strings.Join(deployment.Names, " "))
		errs = append(errs, d.deploy(ctx, deployment.Lineage, name, deployment.Paths, deployment.LeafPEM, r))
	}
	return errors.Join(errs...)
}

func (d *dehydrated) take(lineage string) (out []sdk.Deployment) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, deployment := range d.staged {
		if lineage == "" || lineage == name {
			out = append(out, deployment)
			delete(d.staged, name)
		}
	}
	slices.SortFunc(out, func(a, b sdk.Deployment) int { return strings.Compare(a.Lineage, b.Lineage) })
	return out
}
