// Package arch holds the import law of docs/adr/0003 as a test. It knows which room may import which; it knows no behaviour.
package arch
