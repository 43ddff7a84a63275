// Package store keeps accounts and lineages on disk: atomic, locked, versioned.
//
// The layout, under the state directory:
//
//	format.json                          the version of the layout
//	accounts/<name>/                     account.json, key.pem; key.new.pem while the key is changed
//	archive/<lineage>/<NNNN>/            cert.pem chain.pem fullchain.pem privkey.pem
//	archive/<lineage>/.order-<id>/       the key of an order that is under way
//	live/<lineage>                       ONE symlink to the newest version
//	deployed/<instance>/<lineage>        ONE symlink to the version that a target serves
//	lineages/<lineage>.json              how it was obtained and what became of it
//	locks/                               kernel locks; the files stay
//
// # Who may read
//
// The state directory and the directories directly in it are made 0700, as
// certbot does: one gate, closed by default. What is public lies open behind it
// (version directories 0755, cert, chain and fullchain 0644), so an
// administrator who opens the gates archive, live and deployed to a group gives
// that group every certificate, of later versions too, and still no key: keys
// are 0600 always. Modes of directories that exist are never changed. A server
// that starts as another user than ours gets copies from an installer.
//
// # How it survives a crash
//
// Every file is written to a temporary file in the same directory, fsynced,
// renamed, and the directory fsynced. Nothing is deleted before its successor
// is durable. A [Store.Commit] that was cut short is finished, and what it left
// is swept up, by [Store.Repair]; a [Store.Delete] likewise.
//
// # Who must hold which lock
//
// The methods take no locks themselves. A caller holds [LineageLock] exclusively
// for everything that changes a lineage, and [AccountLock] exclusively for what
// changes an account. Reading needs none: every reader sees one whole version.
package store
