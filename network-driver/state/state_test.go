package state_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/rolling-swarm/rolling/network-driver/state"
	"github.com/rolling-swarm/rolling/network-driver/topology"
)

func full() topology.Change {
	return topology.Change{
		PutNetworks: []topology.Network{{ID: "n1", Pool: netip.MustParsePrefix("10.210.3.0/24"), Gateway: netip.MustParseAddr("169.254.1.1"), Options: topology.Options{Project: "orders", MTU: 1400}}},
		PutEndpoints: []topology.Endpoint{
			{ID: "e1", Network: "n1", Address: netip.MustParseAddr("10.210.3.7"), MAC: "02:42:0a:d2:03:07", Phase: topology.Joined, MTU: 1400, Sandbox: "/s"},
			{ID: "e2", Network: "n1", Address: netip.MustParseAddr("10.210.3.8"), Phase: topology.Lost, LostAt: time.Date(2026, 10, 1, 9, 0, 0, 5, time.UTC)},
		},
	}
}

func members() topology.Membership {
	return topology.Membership{Self: netip.MustParseAddr("10.98.0.21"), Manager: true, Managers: []netip.Addr{netip.MustParseAddr("10.98.0.22")}}
}

func open(t *testing.T, path string) *state.File {
	t.Helper()
	f, err := state.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func made(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "deep", "net.db")
	f := open(t, path)
	if !f.Fresh || f.Aside != "" {
		t.Errorf("a new file is %+v", f)
	}
	if err := errors.Join(f.Save(full()), f.SaveMembership(members()), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhatWasSavedIsThereAfterwards(t *testing.T) {
	f := open(t, made(t))
	if f.Fresh {
		t.Error("it is said to be new")
	}
	s, m, err := f.Load()
	want := topology.NewState()
	want.Apply(full())
	if err != nil || !reflect.DeepEqual(s, want) || !reflect.DeepEqual(m, members()) {
		t.Errorf("loaded %+v, %+v, %v", s, m, err)
	}
	drop := topology.Change{DropNetworks: []topology.NetworkID{"n1"}, DropEndpoints: []topology.EndpointID{"e1", "e2", "never"}}
	if err := f.Save(drop); err != nil {
		t.Fatal(err)
	}
	if s, _, err = f.Load(); err != nil || !reflect.DeepEqual(s, topology.NewState()) {
		t.Errorf("after the drop %+v, %v", s, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Save(full()); err == nil || !strings.Contains(err.Error(), "net.db") {
		t.Errorf("saving into a closed file: %v", err)
	}
}

func TestADamagedFileIsPutAsideAndNamed(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, path string)
	}{
		{"rubbish", func(t *testing.T, p string) { write(t, p, bytes.Repeat([]byte("rubbish "), 4096)) }},
		{"a few bytes", func(t *testing.T, p string) { write(t, p, []byte("x")) }},
		{"nothing at all", func(t *testing.T, p string) { write(t, p, nil) }},
		{"its end cut off", func(t *testing.T, p string) { cut(t, p, 9000) }},
		{"all but its heads cut off", func(t *testing.T, p string) { cut(t, p, 2*int64(os.Getpagesize())) }},
		{"its pages overwritten", func(t *testing.T, p string) {
			text, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			for i := 2 * os.Getpagesize(); i < len(text); i++ {
				text[i] = 0xff
			}
			write(t, p, text)
		}},
		{"a record that is no JSON", func(t *testing.T, p string) {
			edit(t, p, func(tx *bolt.Tx) error { return tx.Bucket([]byte("endpoints")).Put([]byte("e1"), []byte("{")) })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := made(t)
			c.damage(t, path)
			broken, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			f := open(t, path)
			defer f.Close()
			if !f.Fresh || f.Why == nil || !strings.HasPrefix(f.Aside, path+".damaged-") {
				t.Fatalf("opened as %+v", f)
			}
			if kept, err := os.ReadFile(f.Aside); err != nil || len(kept) != len(broken) {
				t.Errorf("%d bytes were kept of %d, %v", len(kept), len(broken), err)
			}
			if err := f.Save(full()); err != nil {
				t.Error(err)
			}
		})
	}
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func cut(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

func edit(t *testing.T, path string, do func(*bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(do), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestANewerFileIsRefusedAndLeftAsItIs(t *testing.T) {
	path := made(t)
	edit(t, path, func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), binary.BigEndian.AppendUint32(nil, 99))
	})
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := state.Open(path); !errors.Is(err, state.ErrNewer) || !strings.Contains(err.Error(), "schema 99") {
		t.Errorf("opened: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, before) {
		t.Errorf("it was changed: %v", err)
	}
}

func TestAFileInUseIsRefusedAndLeftAsItIs(t *testing.T) {
	path := made(t)
	f := open(t, path)
	defer f.Close()
	if _, err := state.Open(path); err == nil || !strings.Contains(err.Error(), "another process has it open") {
		t.Errorf("opened: %v", err)
	}
	if left, err := filepath.Glob(path + "*"); err != nil || len(left) != 1 {
		t.Errorf("files: %v, %v", left, err)
	}
}

func TestNoDamageBringsTheProcessDown(t *testing.T) {
	path := made(t)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := topology.NewState()
	want.Apply(full())
	aside := 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		text := bytes.Clone(good)
		for range 1 + r.IntN(40) {
			text[r.IntN(len(text))] = byte(r.Uint32())
		}
		if r.IntN(3) == 0 {
			text = text[:r.IntN(len(text))]
		}
		p := filepath.Join(t.TempDir(), "net.db")
		write(t, p, text)
		f, err := state.Open(p)
		if err != nil {
			if !errors.Is(err, state.ErrNewer) { // a flipped bit of the schema
				t.Errorf("seed %d: %v", seed, err)
			}
			continue
		}
		if f.Aside != "" {
			aside++
		}
		if _, _, err := f.Load(); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		if err := errors.Join(f.Save(full()), f.Close()); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
	if aside < 50 {
		t.Errorf("only %d of 300 damaged files were noticed", aside)
	}
}
