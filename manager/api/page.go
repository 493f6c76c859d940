package api

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

const (
	defaultPage = 100
	largestPage = 1000
	// cursorLimit is far above every name that a cursor is made of.
	cursorLimit = 1024
)

// Paging is what every list takes.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"At most so many entries."`
	Cursor string `query:"cursor" maxLength:"1024" doc:"The nextCursor of the page before."`
}

// List is a page of a list.
type List[T any] struct {
	Items      []T      `json:"items" nullable:"false"`
	NextCursor string   `json:"nextCursor,omitempty" doc:"Ask with it for the next page; absent on the last one."`
	Warnings   []string `json:"warnings,omitempty" doc:"What could not be asked, and is missing from the list."`
}

// page cuts one page out of a whole list. Every list is sorted by its key, or against it if newestFirst, so a page begins
// where the one before ended even if entries came and went in between.
func page[T any](all []T, p Paging, newestFirst bool, key func(T) string) (List[T], error) {
	after, err := readCursor(p.Cursor)
	if err != nil {
		return List[T]{}, problem(http.StatusBadRequest, CodeInvalidRequest, err.Error())
	}
	order := func(x, y string) int {
		if newestFirst {
			return strings.Compare(y, x)
		}
		return strings.Compare(x, y)
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(x, y T) int { return order(key(x), key(y)) })
	if after != "" {
		from := slices.IndexFunc(all, func(x T) bool { return order(key(x), after) > 0 })
		if from < 0 {
			from = len(all)
		}
		all = all[from:]
	}
	limit := p.Limit
	if limit <= 0 || limit > largestPage {
		limit = defaultPage
	}
	if len(all) <= limit {
		return List[T]{Items: append([]T{}, all...)}, nil
	}
	return List[T]{Items: all[:limit], NextCursor: writeCursor(key(all[limit-1]))}, nil
}

// A cursor is opaque to clients: v1 and the key of the last entry that was given.
func writeCursor(key string) string {
	return base64.RawURLEncoding.EncodeToString([]byte("v1 " + key))
}

func readCursor(cursor string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	key, ok := strings.CutPrefix(string(text), "v1 ")
	if err != nil || !ok || key == "" || len(cursor) > cursorLimit {
		return "", fmt.Errorf("cursor %.40q is not one of ours: leave it out to begin with the first page", cursor)
	}
	return key, nil
}
