// Package addresses breaks a Swarm in every way that a data centre does while addresses are given and taken, and looks
// each time whether engines, kernels, Swarm's tasks, the ledger of rolling/ipam and the router still say the same. It has
// no code but tests: once each with the build tag lab, round upon round with lab and long.
package addresses
