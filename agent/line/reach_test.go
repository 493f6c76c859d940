package line

import (
	"net"
	"strings"
	"testing"
)

func TestAllManagersAreDialledBeforeThereIsAPause(t *testing.T) {
	var closed []string
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		closed = append(closed, l.Addr().String())
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l := &Line{config: Config{Manager: closed}, parts: Parts{Engine: fake{}}}
	err := l.once(t.Context(), 1)
	if err == nil {
		t.Fatal("nobody listens, and it is no error")
	}
	at := -1
	for _, i := range []int{1, 2, 0} { // from another one on each turn
		next := strings.Index(err.Error(), closed[i])
		if next <= at {
			t.Fatalf("%s is not dialled, or not in turn: %v", closed[i], err)
		}
		at = next
	}
	if l.State().Manager != closed[0] {
		t.Errorf("the last one dialled is %s, want %s", l.State().Manager, closed[0])
	}
}
