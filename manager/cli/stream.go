package cli

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// message is one server-sent event.
type message struct {
	id, kind, data string
}

// lineLimit is far above every event; a stream that sends longer lines is none of ours.
const lineLimit = 1 << 20

var errLineTooLong = errors.New("a line of the stream is too long")

// readMessages reads a stream of server-sent events until it ends or take fails. A half event at the end is dropped, as
// its other half comes again with the next connection.
func readMessages(stream io.Reader, take func(message) error) error {
	lines := bufio.NewScanner(stream)
	lines.Buffer(make([]byte, 0, 4096), lineLimit)
	var m message
	var data []string
	for lines.Scan() {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if line == "" {
			if data != nil {
				m.data = strings.Join(data, "\n")
				if err := take(m); err != nil {
					return err
				}
			}
			m, data = message{id: m.id}, nil
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			if !strings.ContainsRune(value, 0) {
				m.id = value
			}
		case "event":
			m.kind = value
		case "data":
			data = append(data, value)
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return errLineTooLong
	}
	return lines.Err()
}
