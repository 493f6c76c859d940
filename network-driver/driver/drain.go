package driver

import "net/http"

// Drain adds POST and DELETE /drain: all that the node announces is marked for a shutdown, or no longer. Only for the
// socket in the state's folder: whoever can open that is root on the node.
func Drain(pages *http.ServeMux, drain func(drained bool) error) {
	answer := func(drained bool) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if err := drain(drained); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		}
	}
	pages.HandleFunc("POST /drain", answer(true))
	pages.HandleFunc("DELETE /drain", answer(false))
}
