// Package e2e holds the end-to-end tests: the proofs of lab/proof, and the faults and bad input that a demonstration
// need not show, on real engines. It has no code but tests; they carry the build tag lab.
package e2e
