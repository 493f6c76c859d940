// Package settings says what is wrong with a program's settings, all of it at once. It knows the forms that settings of
// several programs have: sockets, folders, addresses; it reads no environment and knows no program.
package settings

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
)

// longestSocket is the kernel's limit on a unix socket's path.
const longestSocket = 107

// Problems grow while settings are looked at. The zero value has none.
type Problems struct{ all []error }

// Add names a problem of a setting.
func (p *Problems) Add(setting, format string, args ...any) {
	p.all = append(p.all, fmt.Errorf("%s: %w", setting, fmt.Errorf(format, args...)))
}

// Sockets are the one on which the engine calls, and the one of the program's own pages, in the state's folder.
func (p *Problems) Sockets(engine, pages string) {
	for _, s := range []struct{ setting, path string }{{"ROLLING_SOCKET", engine}, {"ROLLING_STATE", pages}} {
		if !filepath.IsAbs(s.path) || len(s.path) > longestSocket {
			p.Add(s.setting, "%q: want an absolute path of at most %d bytes", s.path, longestSocket)
		}
	}
	if engine == pages {
		p.Add("ROLLING_SOCKET", "%q is where /metrics is served: choose another folder", engine)
	}
}

// Folder has to be an absolute path.
func (p *Problems) Folder(setting, path string) {
	if !filepath.IsAbs(path) {
		p.Add(setting, "%q: want an absolute path", path)
	}
}

// Address is host:port, or empty.
func (p *Problems) Address(setting, address, example string) {
	if address == "" {
		return
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		p.Add(setting, "%w: want host:port, such as %s", err, example)
	}
}

// Err tells them all, one a line; nil if there is none.
func (p *Problems) Err() error {
	if len(p.all) == 0 {
		return nil
	}
	text := strings.ReplaceAll(errors.Join(p.all...).Error(), "\n", "\n  ")
	return fmt.Errorf("settings: %d problems:\n  %s", len(p.all), text)
}
