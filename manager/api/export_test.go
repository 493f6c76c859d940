package api

import "strings"

// Served gives "METHOD /path" for every route of the router.
func (a *API) Served() []string {
	var all []string
	for _, r := range a.echo.Routes() {
		words := strings.Split(r.Path, "/")
		for i, w := range words {
			if name, ok := strings.CutPrefix(w, ":"); ok {
				words[i] = "{" + name + "}"
			}
		}
		all = append(all, r.Method+" "+strings.Join(words, "/"))
	}
	return all
}
