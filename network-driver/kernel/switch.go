package kernel

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// readSwitch reads what stands under /proc/sys, of the calling thread's network namespace where it is about networks.
func readSwitch(key string) (string, error) {
	text, err := os.ReadFile("/proc/sys/" + key)
	return strings.TrimSpace(string(text)), err
}

// writeSwitch writes it. In a managed plugin /proc/sys is mounted read-only: another mount of proc is made then, which
// nobody else sees and which ends with the last open file, by a plugin that has CAP_SYS_ADMIN.
func writeSwitch(key, value string) error {
	err := os.WriteFile("/proc/sys/"+key, []byte(value), 0)
	if errors.Is(err, unix.EROFS) {
		err = writeApart(key, value)
	}
	if err != nil {
		return fmt.Errorf("set %s to %s: %w", strings.ReplaceAll(key, "/", "."), value, err)
	}
	return nil
}

func writeApart(key, value string) error {
	setting, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open proc anew: %w", err)
	}
	defer unix.Close(setting) //nolint:errcheck // nothing was written to it
	if err := unix.FsconfigCreate(setting); err != nil {
		return fmt.Errorf("make proc anew: %w", err)
	}
	mount, err := unix.Fsmount(setting, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("mount proc anew: %w", err)
	}
	defer unix.Close(mount) //nolint:errcheck // a folder
	file, err := unix.Openat(mount, "sys/"+key, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open it: %w", err)
	}
	_, err = unix.Write(file, []byte(value))
	return errors.Join(err, unix.Close(file))
}
