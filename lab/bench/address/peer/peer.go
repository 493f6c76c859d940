// Package peer measures other programs' allocators the way ours is measured: Docker's default IPAM, and the one that CNI
// plugins use. It is benchmarks alone, so that no program of Rolling carries those libraries.
package peer
