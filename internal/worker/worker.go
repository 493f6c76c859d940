// Package worker keeps the program that a launcher runs for a plugin, in a folder of the host that two share: the agent
// lays workers there, the launcher inside the plugin takes them up and says how that went. It knows files, digests and
// settings. It starts nothing and decides nothing.
//
// A worker's folder is never changed once it has its name, and what the launcher executes is a copy that it has checked
// against the digest, so that neither a half-written file nor a power loss runs.
package worker

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Folder is the name of the folder, inside the one of the plugin's state.
const Folder = "worker"

const (
	currentFile = "current"
	statusFile  = "status.json"
	programFile = "program"
	recordFile  = "worker.json"
)

// A Worker is one program with its settings.
type Worker struct {
	Build    string            `json:"build"`    // the bundle that it came in
	Settings map[string]string `json:"settings"` // variables of its environment, over those of the plugin
	Digest   string            `json:"digest"`   // of the program, hex of SHA-256
}

// Name is short and differs wherever anything of the worker does.
func Name(build string, settings map[string]string) string {
	h := sha256.New()
	_, _ = fmt.Fprintln(h, build) // a hash takes all
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		_, _ = fmt.Fprintf(h, "%q=%q\n", name, settings[name])
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// Lay copies the program into the folder, and asks the launcher for it. It returns the worker's name. Other workers there
// are cleared away: a launcher has its own copy of what it runs.
func Lay(folder, program, build string, settings map[string]string) (string, error) {
	name := Name(build, settings)
	if err := lay(folder, name, program, Worker{Build: build, Settings: settings}); err != nil {
		return "", fmt.Errorf("lay worker %s: %w", name, err)
	}
	return name, nil
}

func lay(folder, name, program string, w Worker) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	growing := filepath.Join(folder, name+".growing")
	if err := errors.Join(os.RemoveAll(growing), os.Mkdir(growing, 0o700)); err != nil {
		return err
	}
	digest, err := copyProgram(filepath.Join(growing, programFile), program)
	if err != nil {
		return err
	}
	w.Digest = digest
	text, err := json.Marshal(w)
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(growing, recordFile), text); err != nil {
		return err
	}
	// Not atomic if the same worker is laid again: a launcher that looks in between keeps what it runs and looks again.
	final := filepath.Join(folder, name)
	if err := errors.Join(os.RemoveAll(final), os.Rename(growing, final)); err != nil {
		return err
	}
	if err := replaceFile(filepath.Join(folder, currentFile), []byte(name+" "+rand.Text()+"\n")); err != nil {
		return err
	}
	return clearOthers(folder, name)
}

func clearOthers(folder, name string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() && e.Name() != name {
			err = errors.Join(err, os.RemoveAll(filepath.Join(folder, e.Name())))
		}
	}
	return err
}

// An Order is what the launcher is asked for. It is comparable: the same worker laid again is another order.
type Order struct {
	Name  string // "": nothing was ever laid
	Token string
}

// Ordered reads what is asked for.
func Ordered(folder string) (Order, error) {
	file := filepath.Join(folder, currentFile)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Order{}, nil
	}
	if err != nil {
		return Order{}, err
	}
	name, token, ok := strings.Cut(strings.TrimSpace(string(text)), " ")
	if !ok || name == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return Order{}, fmt.Errorf("%s: %.40q names no worker", file, text)
	}
	return Order{Name: name, Token: token}, nil
}

// Fetch copies a worker's program to a path, and refuses one that is not what was laid.
func Fetch(folder, name, to string) (Worker, error) {
	var w Worker
	text, err := os.ReadFile(filepath.Join(folder, name, recordFile))
	if err == nil {
		err = json.Unmarshal(text, &w)
	}
	if err != nil {
		return w, fmt.Errorf("worker %s: %w", name, err)
	}
	digest, err := copyProgram(to, filepath.Join(folder, name, programFile))
	if err != nil {
		return w, fmt.Errorf("worker %s: %w", name, err)
	}
	if digest != w.Digest {
		return w, fmt.Errorf("worker %s: the program's digest is %.12s…, it was laid with %.12s…: it is damaged", name, digest, w.Digest)
	}
	return w, nil
}

// A Status is what the launcher says.
type Status struct {
	Running  string            `json:"running"` // a worker's name, "" for the program that came with the plugin
	Build    string            `json:"build"`   // of what runs, and its settings; "" as well
	Settings map[string]string `json:"settings"`
	Order    Order             `json:"order"`   // the last one that the launcher has dealt with
	Problem  string            `json:"problem"` // why Order does not run, "" if it does
}

// ReadStatus gives the zero Status where no launcher has said anything yet.
func ReadStatus(folder string) (Status, error) {
	var s Status
	text, err := os.ReadFile(filepath.Join(folder, statusFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	return s, err
}

// WriteStatus replaces what was said before.
func WriteStatus(folder string, s Status) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(folder, statusFile), text)
}

func copyProgram(to, from string) (digest string, err error) {
	in, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer in.Close() //nolint:errcheck // read only
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o700)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, h), in)
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func replaceFile(name string, text []byte) error {
	if err := writeFile(name+".new", text); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

func writeFile(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}
