// Package lua holds what runs inside an nginx: our module, and an example of a configuration that uses it. It knows
// nothing else; the agent and the lab carry the files from here to where an nginx finds them.
package lua

import _ "embed" // the two files

// Module is rolling.lua.
//
//go:embed rolling.lua
var Module string

// Example is an nginx.conf for Debian's nginx, with one server and the agent's door.
//
//go:embed nginx.conf
var Example string
