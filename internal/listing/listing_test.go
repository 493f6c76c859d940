package listing

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestAListingThatWasCutShortIsAskedForAgain(t *testing.T) {
	other := errors.New("no such device")
	for _, c := range []struct {
		name    string
		answers []error
		want    error
		asked   int
	}{
		{"whole at once", []error{nil}, nil, 1},
		{"cut short twice", []error{netlink.ErrDumpInterrupted, netlink.ErrDumpInterrupted, nil}, nil, 3},
		{"another error is told", []error{netlink.ErrDumpInterrupted, other}, other, 2},
	} {
		asked := 0
		_, err := whole(func() ([]int, error) { asked++; return nil, c.answers[asked-1] })
		if !errors.Is(err, c.want) || asked != c.asked {
			t.Errorf("%s: %v after %d questions, want %v after %d", c.name, err, asked, c.want, c.asked)
		}
	}
	asked := 0
	if _, err := whole(func() ([]int, error) { asked++; return nil, netlink.ErrDumpInterrupted }); !errors.Is(err, netlink.ErrDumpInterrupted) || asked != tries {
		t.Errorf("never whole: %v after %d questions", err, asked)
	}
}
