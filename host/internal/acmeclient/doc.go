// Package acmeclient speaks ACME (RFC 8555, RFC 9773) to a CA.
// golang.org/x/crypto/acme registers accounts, binds them, and makes challenge
// material. All else are signed calls of our own: orders, authorizations and
// certificates, where we need Retry-After, unknown challenge types, our own pace of
// polling, and finalize as a step by itself; and what x/crypto lacks: contacts that
// can be emptied, a rollover that can be repeated, replaces, renewal information.
// Neither library shows outside: callers see model values, and every refusal of the
// CA is a [*model.ACMEError] in the chain of the error.
//
// What may pass is tried again here, each step a bounded number of times: refused
// nonces, 5xx, answers that do not come or break off, and, once there is an order
// to lose, limits that ask for a minute at most. Nothing is done twice that must be
// done once: after a finalize without an answer the order is looked at first.
package acmeclient
