-- rolling.lua lets nginx pick among the members that Rolling's agent pushes, and keeps them through restarts.
--
-- It knows: the set that was pushed last (shared by the workers), its copy on disk, and which peers failed of late (each
-- worker by itself). It knows no Docker and no ZooKeeper, asks nobody, and goes on with the last set when nobody pushes.
-- How to use it is in nginx.conf beside this file.

local cjson = require "cjson.safe"
local balancer = require "ngx.balancer"
local ffi = require "ffi"

local ngx, math, io, os, type, pairs, ipairs = ngx, math, io, os, type, pairs, ipairs

local _M = {}

-- A peer that failed rests for a second, then twice as long each time, at most MAX_REST seconds.
local FIRST_REST, MAX_REST = 1, 10
local MAX_TRIES = 3
-- Lua's numbers are exact up to 2^53.
local MAX_VERSION = 9007199254740992

-- Shared by the workers: "stamp" = version .. " " .. by; "set" = the document as it was pushed; "undumped" = why it is not
-- on disk, if so; "lock" while a push is under way.
local dict
local dump, token                -- settings, read once before the workers start
local cached_stamp, cached = nil, {}   -- of this worker: the set, decoded once a version
local failed = {}                -- of this worker: "host:port" -> {till = time, times = n}

if not pcall(ffi.cdef, "int fileno(void *); int fsync(int);") then
  ngx.log(ngx.WARN, "rolling: fsync is not to be had: a power loss may cost the newest dump")
end

-- documents ---------------------------------------------------------------------------------------------------------

local function whole(n, low, high)
  return type(n) == "number" and n >= low and n <= high and n == math.floor(n)
end

-- An address that set_current_peer takes: nginx would resolve no name there.
local function literal(host)
  if type(host) ~= "string" then return false end
  local a, b, c, d = host:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  if a then
    return tonumber(a) < 256 and tonumber(b) < 256 and tonumber(c) < 256 and tonumber(d) < 256
  end
  return host:find(":", 1, true) ~= nil and host:match("^[%x:%.]+$") ~= nil
end

-- parse answers a document, or nil and what is wrong with it.
local function parse(text)
  local doc, err = cjson.decode(text)
  if type(doc) ~= "table" then return nil, "no JSON object: " .. (err or type(doc)) end
  if not whole(doc.version, 1, MAX_VERSION) then return nil, "version: want a whole number from 1" end
  if type(doc.by) ~= "string" or not doc.by:match("^[%w%._-]+$") then return nil, "by: want the name of who decided" end
  if type(doc.upstreams) ~= "table" then return nil, "upstreams: want an object of lists" end
  for name, peers in pairs(doc.upstreams) do
    if type(name) ~= "string" or type(peers) ~= "table" then return nil, "upstreams: want an object of lists" end
    local count = 0
    for _ in pairs(peers) do count = count + 1 end
    if count ~= #peers then return nil, "upstreams." .. name .. ": want a list" end
    for i, p in ipairs(peers) do
      local where = "upstreams." .. name .. "[" .. (i - 1) .. "]"
      if type(p) ~= "table" then return nil, where .. ": want an object" end
      if not literal(p.host) then return nil, where .. ".host: want an IP address" end
      if not whole(p.port, 1, 65535) then return nil, where .. ".port: want 1 to 65535" end
      if not whole(p.weight, 0, 1000) then return nil, where .. ".weight: want 0 to 1000" end
    end
  end
  return doc
end

local function stamp_of(doc) return string.format("%.0f %s", doc.version, doc.by) end

local function version_of(stamp) return stamp and tonumber(stamp:match("^%d+")) or 0 end

-- index adds the running sums of weights that pick searches, and drops the peers that weigh nothing.
local function index(doc)
  local sets = {}
  for name, peers in pairs(doc.upstreams) do
    local set, sum = {}, 0
    for _, p in ipairs(peers) do
      if p.weight > 0 then
        sum = sum + p.weight
        set[#set + 1] = {host = p.host, port = p.port, weight = p.weight, upto = sum, key = p.host .. " " .. p.port}
      end
    end
    set.sum = sum
    sets[name] = set
  end
  return sets
end

-- sets answers this worker's decoded copy of what is in force.
local function sets()
  local stamp = dict:get("stamp")
  if stamp ~= cached_stamp then
    local doc = parse(dict:get("set") or "")
    if doc then
      cached, cached_stamp = index(doc), stamp
      local known = {}
      for _, set in pairs(cached) do
        for _, p in ipairs(set) do known[p.key] = failed[p.key] end
      end
      failed = known
    end
  end
  return cached
end

local function publish(text, stamp)
  local ok, err = dict:safe_set("set", text)   -- the set first: who sees the new stamp must find the new set
  if ok then ok, err = dict:safe_set("stamp", stamp) end
  return ok, err
end

-- the copy on disk --------------------------------------------------------------------------------------------------

local function write_dump(text)
  local f, err = io.open(dump .. ".new", "w")
  if not f then return nil, err end
  local ok
  ok, err = f:write(text)
  if ok then ok, err = f:flush() end
  if ok then pcall(function() ffi.C.fsync(ffi.C.fileno(f)) end) end
  f:close()
  if not ok then return nil, err end
  return os.rename(dump .. ".new", dump)
end

-- load is called once before the workers start. A reload keeps what is in force; a restart takes it from the disk.
-- settings: dump (a path that the workers may write), token (optional), dict (the shared dictionary's name).
function _M.load(settings)
  dump, token = settings.dump, settings.token
  if token == "" then token = nil end
  dict = ngx.shared[settings.dict or "rolling"]
  if not dict then error("rolling: nginx.conf lacks: lua_shared_dict rolling 8m;") end
  if dict:get("stamp") then return end
  local f = io.open(dump, "r")
  if not f then return end
  local text = f:read("*a")
  f:close()
  local doc, err = parse(text or "")
  if not doc then
    ngx.log(ngx.ERR, "rolling: ", dump, " is no dump of ours, starting without members: ", err)
    return
  end
  publish(text, stamp_of(doc))
end

-- seed is called when a worker starts: workers forked from one parent would else all pick the same peers.
function _M.seed()
  math.randomseed(ngx.now() * 1000 + ngx.worker.pid() * 7919)
end

-- picking -----------------------------------------------------------------------------------------------------------

local function usable(p, tried, now)
  local f = failed[p.key]
  return not tried[p.key] and (not f or f.till <= now)
end

local function search(set, x)
  local low, high = 1, #set
  while low < high do
    local middle = math.floor((low + high) / 2)
    if set[middle].upto > x then high = middle else low = middle + 1 end
  end
  return set[low]
end

-- among picks by weight among the peers that fit, nil if none does.
local function among(set, fits)
  local sum = 0
  for _, p in ipairs(set) do
    if fits(p) then sum = sum + p.weight end
  end
  local x = math.random() * sum
  for _, p in ipairs(set) do
    if fits(p) then
      x = x - p.weight
      if x < 0 then return p end
    end
  end
end

local function pick(set, tried)
  local now = ngx.now()
  local p = search(set, math.random() * set.sum)
  if usable(p, tried, now) then return p end
  return among(set, function(q) return usable(q, tried, now) end)
      or among(set, function(q) return not tried[q.key] end)   -- all that is left failed of late: better than nobody
      or p
end

local function remember(key)
  local now = ngx.now()
  local f = failed[key]
  if not f or now - f.till > 3 * MAX_REST then f = {times = 0} end
  f.times = f.times + 1
  f.till = now + math.min(MAX_REST, FIRST_REST * 2 ^ (f.times - 1))
  failed[key] = f
end

-- guard belongs into the access phase: a balancer cannot answer 503.
function _M.guard()
  local set = sets()[ngx.var.rolling_upstream]
  if not set or set.sum == 0 then
    return ngx.exit(503)
  end
end

function _M.balance()
  local set = sets()[ngx.var.rolling_upstream]
  if not set or set.sum == 0 then return ngx.exit(502) end   -- emptied since guard looked
  local ctx = ngx.ctx
  if ctx.rolling_tried then
    if balancer.get_last_failure() then remember(ctx.rolling_last) end
  else
    ctx.rolling_tried = {}
    if #set > 1 then balancer.set_more_tries(math.min(#set, MAX_TRIES) - 1) end
  end
  local p = pick(set, ctx.rolling_tried)
  ctx.rolling_tried[p.key] = true
  ctx.rolling_last = p.key
  local ok, err = balancer.set_current_peer(p.host, p.port)
  if not ok then
    ngx.log(ngx.ERR, "rolling: peer ", p.key, ": ", err)
    return ngx.exit(502)
  end
end

-- the agent's door --------------------------------------------------------------------------------------------------

local function answer(status, text)
  ngx.status = status
  local version, by = (dict:get("stamp") or "0 -"):match("^(%d+) (.*)$")
  ngx.header["Rolling-Version"] = version
  ngx.header["Rolling-By"] = by
  ngx.header["Rolling-Dump"] = dict:get("undumped")
  ngx.header["Content-Type"] = "text/plain"
  ngx.print(text, "\n")
end

local function same(a, b) return ngx.sha1_bin(a) == ngx.sha1_bin(b) end   -- says nothing about how far they agree

-- allowed answers who may see and push members: with a token, who has it; without one, who is on this machine.
local function allowed()
  if token then
    local given = (ngx.var.http_authorization or ""):match("^Bearer (.+)$")
    return given ~= nil and same(given, token), 401
  end
  local from = ngx.var.remote_addr or ""
  return from == "unix:" or from == "::1" or from:match("^127%.") ~= nil, 403
end

-- replace runs under the lock: compare the versions, dump, publish.
local function replace(doc, text)
  local current = version_of(dict:get("stamp"))
  if doc.version <= current then
    return 409, string.format("version %.0f is not above %.0f", doc.version, current)
  end
  local dumped, why = write_dump(text)
  local ok, err = publish(text, stamp_of(doc))
  if not ok then return 507, "lua_shared_dict is too small: " .. err end
  dict:set("undumped", not dumped and why or nil)
  if not dumped then ngx.log(ngx.ERR, "rolling: the set is in force but not on disk: ", why) end
  return 200, "in force"
end

local function put()
  ngx.req.read_body()
  local text = ngx.req.get_body_data()
  if not text then
    if ngx.req.get_body_file() then return answer(413, "the body is larger than client_body_buffer_size") end
    return answer(400, "no body")
  end
  local doc, err = parse(text)
  if not doc then return answer(400, err) end
  if not dict:add("lock", true, 5) then return answer(503, "another push is under way") end
  local ok, status, said = pcall(replace, doc, text)
  dict:delete("lock")
  if not ok then
    ngx.log(ngx.ERR, "rolling: ", status)
    return answer(500, "see nginx's error log")
  end
  return answer(status, said)
end

-- admin serves the agent: HEAD shows the version in force, GET the set, PUT replaces it.
function _M.admin()
  local ok, status = allowed()
  if not ok then return answer(status, "not for you") end
  local method = ngx.req.get_method()
  if method == "PUT" then return put() end
  if method ~= "GET" and method ~= "HEAD" then return answer(405, "want GET, HEAD or PUT") end
  answer(200, dict:get("set") or '{"upstreams":{}}')
end

return _M
