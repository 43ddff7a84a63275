package report

import "github.com/certwright/certwright/host/internal/redact"

// Secrets masks what must not be shown. The zero value masks private keys only.
type Secrets = redact.Secrets
