package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"github.com/rolling-swarm/rolling/manager/store"
	"github.com/rolling-swarm/rolling/manager/store/storetest"
)

// holdFile makes this test program, started again, hold a store until its input ends.
const holdFile = "ROLLING_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(holdFile); path != "" {
		s, err := store.Open(path)
		fmt.Println("held", err)
		if err == nil {
			_, _ = os.Stdin.Read(make([]byte, 1))
			err = s.Close()
		}
		if err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func open(t testing.TB, path string) *store.Bolt {
	t.Helper()
	s, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBoltIsAStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, filepath.Join(t.TempDir(), "manager.db")) })
}

func TestMemoryIsAStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return &storetest.Memory{} })
}

func TestBoltAndMemoryAnswerAlike(t *testing.T) {
	file := open(t, filepath.Join(t.TempDir(), "manager.db"))
	defer file.Close()
	const kind = store.Kind("projects")
	key := rapid.StringMatching(`[ab/\x00]{1,4}`)
	rapid.Check(t, func(t *rapid.T) {
		memory := &storetest.Memory{}
		both := []store.Store{file, memory}
		clear := func(tx store.Tx) error {
			var keys []string
			for k := range tx.Scan(kind, store.Range{}) {
				keys = append(keys, k)
			}
			for _, k := range keys {
				if err := tx.Delete(kind, k); err != nil {
					return err
				}
			}
			return nil
		}
		if err := file.Update(clear); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 6).Draw(t, "transactions") {
			puts := rapid.MapOf(key, rapid.SliceOfN(rapid.Byte(), 0, 3)).Draw(t, "puts")
			deletes := rapid.SliceOf(key).Draw(t, "deletes")
			var fail error
			if rapid.IntRange(0, 3).Draw(t, "fails") == 0 {
				fail = errors.New("undone")
			}
			for _, s := range both {
				err := s.Update(func(tx store.Tx) error {
					for k, v := range puts {
						if err := tx.Put(kind, k, v); err != nil {
							return err
						}
					}
					for _, k := range deletes {
						if err := tx.Delete(kind, k); err != nil {
							return err
						}
					}
					return fail
				})
				if !errors.Is(err, fail) {
					t.Fatal(err)
				}
			}
		}
		r := store.Range{Prefix: rapid.StringMatching(`[ab/]{0,2}`).Draw(t, "prefix"), Reverse: rapid.Bool().Draw(t, "reverse")}
		if rapid.Bool().Draw(t, "from somewhere") {
			r.After = key.Draw(t, "after")
		}
		var seen [2][]string
		for i, s := range both {
			if err := s.View(func(tx store.Tx) error {
				for k, v := range tx.Scan(kind, r) {
					seen[i] = append(seen[i], fmt.Sprintf("%q=%x", k, v))
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(seen[0], seen[1]) {
			t.Fatalf("range %+v:\nthe file has   %v\nthe memory has %v", r, seen[0], seen[1])
		}
	})
}

func TestWhatWasKeptIsThereAfterAReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "manager.db")
	s := open(t, path)
	var kept store.Project
	err := s.Update(func(tx store.Tx) (err error) {
		kept, err = store.PutProject(tx, store.Project{Name: "orders", File: []byte("x: 1\n"), Files: map[string][]byte{"a": {0, 255}}}, nil)
		return err
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	defer s.Close()
	if s.Aside != "" {
		t.Errorf("a sound file was put aside: %v", s.Why)
	}
	if err := s.View(func(tx store.Tx) error {
		got, ok, err := store.GetProject(tx, "orders")
		if !ok || got.Version != kept.Version || !bytes.Equal(got.Files["a"], []byte{0, 255}) {
			t.Errorf("%+v %v", got, ok)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o600 {
		t.Errorf("the file holds secrets and has mode %v: %v", i.Mode().Perm(), err)
	}
}

// filled makes a store of several pages.
func filled(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "manager.db")
	s := open(t, path)
	for i := range 20 {
		if err := s.Update(func(tx store.Tx) error {
			_, err := store.PutProject(tx, store.Project{Name: "orders", File: bytes.Repeat([]byte{byte(i)}, 4000)}, nil)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestADamagedFileIsPutAsideAndNamed(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, path string)
	}{
		{"empty", func(t *testing.T, path string) { write(t, path, nil) }},
		{"something else", func(t *testing.T, path string) { write(t, path, bytes.Repeat([]byte("not a database\n"), 4096)) }},
		{"cut off", func(t *testing.T, path string) {
			if err := os.Truncate(path, 24*1024); err != nil {
				t.Fatal(err)
			}
		}},
		{"pages overwritten", func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := 2 * os.Getpagesize(); i < len(b); i++ {
				b[i] ^= 0x5a
			}
			write(t, path, b)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filled(t)
			c.damage(t, path)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s := open(t, path)
			defer s.Close()
			if s.Aside == "" || s.Why == nil || !strings.HasPrefix(s.Aside, path) {
				t.Fatalf("put aside as %q because of %v", s.Aside, s.Why)
			}
			if after, err := os.ReadFile(s.Aside); err != nil || !bytes.Equal(before, after) {
				t.Errorf("what was put aside is not what was there: %v", err)
			}
			if err := s.View(func(tx store.Tx) error {
				all, err := store.Projects(tx)
				if len(all) > 0 {
					t.Errorf("the new one is not empty: %v", all)
				}
				return err
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestANewerFileIsRefusedAndLeftAlone(t *testing.T) {
	path := filled(t)
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), binary.BigEndian.AppendUint32(nil, 1000))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.Open(path)
	if !errors.Is(err, store.ErrNewer) || !strings.Contains(err.Error(), "schema 1000") || !strings.Contains(err.Error(), path) {
		t.Errorf("the error is %v", err)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was changed (%v)", err)
	}
	if found, _ := filepath.Glob(path + ".*"); len(found) > 0 {
		t.Errorf("something was put aside: %v", found)
	}
}

func TestAFileThatAnotherProcessHoldsIsRefusedWithItsName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "manager.db")
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), holdFile+"="+path)
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	_, err = store.Open(path)
	if !errors.Is(err, store.ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("process %d ", child.Process.Pid)) {
		t.Errorf("the error is %v, and process %d has it", err, child.Process.Pid)
	}
	if err := errors.Join(in.Close(), child.Wait()); err != nil {
		t.Fatal(err)
	}
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAFolderThatCannotBeMadeIsTheSystemsWordAndNoDamage(t *testing.T) {
	inTheWay := filepath.Join(t.TempDir(), "file")
	write(t, inTheWay, []byte("x"))
	if _, err := store.Open(filepath.Join(inTheWay, "manager.db")); err == nil {
		t.Error("it was opened below a file")
	}
}
