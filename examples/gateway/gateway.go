// Package gateway is the example of an nginx that stands before projects and gets its members from Rolling's agent. It
// holds the configuration as a value, so that the lab runs the very file that people copy.
package gateway

import _ "embed" // nginx.conf

// Config is nginx.conf of this folder. The module that it loads is agent/nginx/lua/rolling.lua.
//
//go:embed nginx.conf
var Config string
