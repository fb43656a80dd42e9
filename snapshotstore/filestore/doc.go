// Package filestore keeps snapshots in one file, with nothing to install: a bbolt database, held by one process.
//
// # Durability
//
// Commit, Drop and Promote return once what they changed is on the disk: a B+tree is written beside the old one, synced
// (fdatasync), and then a new header is, so that a process or a machine that dies at any moment leaves the state before
// or the state after, never something between. That costs two syncs, about 0.5 to 5 ms on an SSD and 10 to 30 ms on a
// spinning disk, and pages of 4 KiB: each changed key rewrites the page that it is in. Commits of several units that
// wait at the same time share one transaction and so its syncs. Options.NoSync leaves syncing to the system: a process
// that dies still loses nothing, a machine that dies may leave a file that can't be read.
//
// Announcements of workers are kept in memory only: they die with the process, as the workers do.
//
// # Size
//
// The file grows and does not shrink while it is open; pages that become free are used again. Where more than two thirds
// of it are free when it is opened, it is first written anew beside itself (path + ".compact") and takes the old one's
// place: such a start takes longer, in proportion to what is in use, and needs the room for it, or leaves the file as it is.
//
// # Layout of the file
//
// This is not an interface: read it through a Store, or ask a running worker over HTTP.
//
//	tailfold                 "format" -> "1"
//	units                    <projection>/v<version>/<partition> -> id, 8 bytes
//	snapshots / id           "mark", "definition" -> framed
//	snapshots / id / values  SHA-256 of the key -> framed: the key and its value
//	snapshots / id / skipped seq and a running number, 8 bytes each -> framed JSON
//	dropped                  id of a snapshot whose pages are still to be given back
//	served                   projection -> version, decimal
//
// A frame is a CRC-32C of the rest, the length of the key, the key, the value: a page that changed on the disk is
// noticed, not folded on. Keys are hashed because bbolt's are at most 32,768 bytes and never empty.
package filestore
