// Package journal records what is in flight before it is begun, so that a run
// that was killed can be undone by the next one.
//
// Each run has one file, made with its first record, held under a kernel lock
// (flock) while the run lives, and removed at its end if nothing is pending. A
// file that nobody holds is of a run that died. Only such files are recovered.
//
// A file is JSON lines. The first is {"v":1}; every other one is a record with
// a sequence number, which alone gives the order: clocks jump. The name of a
// file begins with a number above those of the files it found. A last line
// without its end was being written when the run died, and what it announced
// was never begun. Any other line that cannot be read is reported, loses no
// other, and its file is kept for a person with ".corrupt" after its name.
//
// No secret is ever in a journal: instances hold references to secrets, and the
// private key of a tls-alpn-01 challenge is left out. Files are 0600 all the
// same, because key authorizations are nobody's business before their time.
package journal
