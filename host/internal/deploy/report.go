package deploy

import (
	"context"
	"errors"
	"slices"

	"github.com/certwright/certwright/host/internal/model"
	"github.com/certwright/certwright/sdk"
)

// told is the error of a call with what its results have reported as failures.
func (w *work) told(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		err = errors.Join(w.failures...)
	}
	w.failures = nil
	return err
}

// stageFor says for which names endpoints are reported that name none.
func (w *work) stageFor(ids ...model.Identifier) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.staging = ids
}

// The work is its own reporter: results are collected, the rest is told.

func (w *work) reporter() sdk.Reporter { return w.Story.Reporter(w.cert.Lineage, w.name()) }

// Progress implements sdk.Reporter.
func (w *work) Progress(subject, message string) { w.reporter().Progress(subject, message) }

// Say implements sdk.Reporter.
func (w *work) Say(to sdk.Stream, text string) { w.reporter().Say(to, text) }

// Ask implements sdk.Reporter.
func (w *work) Ask(ctx context.Context, text string) (string, error) {
	return w.reporter().Ask(ctx, text)
}

// Result implements sdk.Reporter.
func (w *work) Result(r sdk.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.Err != nil {
		w.failures = append(w.failures, r.Err)
	}
	for _, e := range r.Endpoints {
		if e.ServerName == "" {
			e.ServerName = serverName(w.staging)
		}
		if !slices.Contains(w.endpoints, e) {
			w.endpoints = append(w.endpoints, e)
		}
	}
}

// serverName is a name that can be asked for: a wildcard is filled in.
func serverName(ids []model.Identifier) string {
	for _, id := range ids {
		if !id.Wildcard {
			return id.Value
		}
	}
	for _, id := range ids {
		return "certwright." + id.Value
	}
	return ""
}
