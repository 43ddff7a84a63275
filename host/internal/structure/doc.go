// Package structure checks that the repository is built the way its design
// says: who imports whom, where the files are, and that each of them explains
// itself. It holds tests only.
package structure
