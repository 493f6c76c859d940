package driver

import (
	"context"
	"net/http"
)

// Clear adds POST and DELETE /clear: the host is made as if the plugin had never been, as far as no container needs it,
// or that is undone. Only for the socket in the state's folder, as Drain.
func Clear(pages *http.ServeMux, clear, restore func(context.Context) error) {
	answer := func(do func(context.Context) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if err := do(r.Context()); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		}
	}
	pages.HandleFunc("POST /clear", answer(clear))
	pages.HandleFunc("DELETE /clear", answer(restore))
}
