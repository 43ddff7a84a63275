// Package acmeclient speaks ACME (RFC 8555) to a CA: golang.org/x/crypto/acme for
// accounts, account bindings and challenge material, and signed calls of its own
// for orders, authorizations and certificates, where we need Retry-After, unknown
// challenge types, our own pace of polling, and finalize as a step by itself. Neither library shows outside: callers see model values, and
// every refusal of the CA is a [*model.ACMEError] in the chain of the error.
package acmeclient
