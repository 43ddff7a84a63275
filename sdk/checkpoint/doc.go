// Package checkpoint is for installers that edit files: what they write can be
// taken back, whatever happens in between.
//
// A [Store] lives in the instance's state directory. [Store.Begin] opens a
// [Draft]; every path is registered with it before it is changed, by
// [Draft.Touch] or by [Draft.WriteFile], which does both. [Draft.Finalise] makes
// a [Checkpoint] of it in one atomic step, [Draft.Discard] puts everything back.
// [Store.Rollback] reverts finalised checkpoints, and [Store.Recover], to be
// called first thing in every process, undoes what a crash left unfinished:
//
//	store, err := checkpoint.Open(instance.StateDir)
//	err = store.Recover(ctx)
//	draft, err := store.Begin(ctx, lineage)
//	err = draft.WriteFile(ctx, "/etc/ssl/www.pem", pem, checkpoint.Attributes{Mode: 0o644})
//	saved, err := draft.Finalise(ctx, "deployed www")
//	reverted, err := store.Rollback(ctx, 1, checkpoint.Scope{})
//
// [Draft.Symlink], [Draft.Remove] and [Draft.Mkdir] change and register at once;
// [Draft.Undo] registers a command. [Edits] does on top of a store what the
// contract asks of an installer's Save and Rollback, and [Diff] shows a change.
// [Remote] does it for an installer that works by an API and edits no file.
//
// A process may die at any instant, a machine may lose power: after the next
// Recover every file is byte for byte what it was before the draft or before the
// rollback, or what it was to become, with owner, mode, modification time and
// extended attributes as far as the process may set them. Hard links to a file
// that is written or restored keep the old content, because files are replaced
// and never written in place.
//
// Several drafts may be open at once, in one process or in several; a path
// belongs to one of them only. Copies of files may hold private keys: the
// store's directories are 0700 and its files 0600. Network file systems are not
// supported, because drafts that are alive are told from dead ones by kernel
// locks.
package checkpoint
