package debian

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Needed finds the libraries and the loader that the given files of the folder need, of their own and of each other: the
// place at which the loader looks for each, and the file that belongs there. It reads what the files say and runs
// nothing. A loader stands where its programs name it, a library among those of its machine in /usr/lib.
func (u Unpacked) Needed(files []string) (map[string]string, error) {
	libraries, err := u.libraries()
	if err != nil {
		return nil, err
	}
	loader := ""
	places := map[string]string{}
	waiting := make([]string, 0, len(files))
	for _, f := range files {
		waiting = append(waiting, filepath.Join(u.Folder, f))
	}
	for ; len(waiting) > 0; waiting = waiting[1:] {
		names, interpreter, err := needs(waiting[0])
		if err != nil {
			return nil, fmt.Errorf("what %s needs: %w", waiting[0], err)
		}
		if interpreter != "" && loader == "" {
			loader = interpreter
			names = append(names, path.Base(loader))
		}
		for _, name := range names {
			file, ok := libraries[name]
			if !ok {
				return nil, fmt.Errorf("%s needs %s, which none of these packages has: %s", waiting[0], name, strings.Join(u.Packages, " "))
			}
			place := u.place(file, name)
			if name == path.Base(loader) {
				place = strings.TrimPrefix(loader, "/")
			}
			if _, placed := places[place]; !placed {
				places[place] = file
				waiting = append(waiting, file)
			}
		}
	}
	return places, nil
}

// place is the same for Debians with a /lib of their own and for those in which it is /usr/lib.
func (u Unpacked) place(file, name string) string {
	folder, _ := filepath.Rel(u.Folder, filepath.Dir(file)) // of a file found below it
	return path.Join("usr", strings.TrimPrefix(filepath.ToSlash(folder), "usr/"), name)
}

// needs are the names of a file's libraries, and the path of its loader.
func needs(file string) (names []string, loader string, err error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, "", err
	}
	defer f.Close() //nolint:errcheck // only read
	if names, err = f.ImportedLibraries(); err != nil {
		return nil, "", err
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			text := make([]byte, p.Filesz)
			if _, err := p.ReadAt(text, 0); err != nil {
				return nil, "", err
			}
			loader = strings.TrimRight(string(text), "\x00")
		}
	}
	return names, loader, nil
}

// libraries finds a library's file by its name.
func (u Unpacked) libraries() (map[string]string, error) {
	found := map[string]string{}
	for _, top := range []string{"lib", "usr/lib"} {
		err := filepath.WalkDir(filepath.Join(u.Folder, top), func(at string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.Contains(d.Name(), ".so") {
				return err
			}
			if _, there := found[d.Name()]; !there {
				found[d.Name()], err = u.resolve(at)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return found, nil
}

// resolve follows links as they would lead inside the folder: an absolute one does not lead to this machine's files.
func (u Unpacked) resolve(at string) (string, error) {
	for range 10 {
		s, err := os.Lstat(at)
		if err != nil || s.Mode().Type() != fs.ModeSymlink {
			return at, err
		}
		target, err := os.Readlink(at)
		if err != nil {
			return "", err
		}
		if filepath.IsAbs(target) {
			at = filepath.Join(u.Folder, target)
		} else {
			at = filepath.Join(filepath.Dir(at), target)
		}
	}
	return "", fmt.Errorf("%s: too many links", at)
}

// Glob lists the files of the folder that match, as paths below it.
func (u Unpacked) Glob(pattern string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(u.Folder, pattern))
	if err != nil || len(files) == 0 {
		return nil, errors.Join(err, fmt.Errorf("%s: no file %s: a package has changed its files", u.Folder, pattern))
	}
	for i := range files {
		if files[i], err = filepath.Rel(u.Folder, files[i]); err != nil {
			return nil, err
		}
	}
	slices.Sort(files)
	return files, nil
}
