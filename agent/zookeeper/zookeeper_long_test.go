//go:build lab && long

package zookeeper

import "testing"

// TestRealFinagleByItsSlowerResolver takes half a minute: zk2! holds a removal back for up to two windows of 10 s.
func TestRealFinagleByItsSlowerResolver(t *testing.T) { finagleFollows(t, "zk2") }
