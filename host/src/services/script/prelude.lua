-- Completes the globals of a script before the script is run. What is local here is out of the script's reach.
-- `host` has the functions that Rust gives; what this file returns calls a function and tells how it ended.
local host = ...

local error, pcall0, select, tostring, type, unpack0 = error, pcall, select, tostring, type, unpack
local concat = table.concat
local find, gmatch, gsub, match, rep = string.find, string.gmatch, string.gsub, string.match, string.rep
local limited, describe = host.limited, host.describe

-- An error that says that a limit was reached goes on through every pcall, so that no script outlives its limit.
local function ended(ok, ...)
  if ok then return ok, ... end
  local why = ...
  if limited(why) then error(why, 0) end
  if type(why) == "userdata" then why = describe(why) end
  return false, why
end

local function guarded(f, ...)
  return ended(pcall0(f, ...))
end

pcall = guarded

local function handled(handler, ok, ...)
  if ok then return ok, ... end
  local _, answer = guarded(handler, (...))
  return false, answer
end

-- The handler runs after the error and not at its place: Lua calls no hook in a handler that runs because of a hook, so
-- a handler there could run for ever.
function xpcall(f, handler)
  return handled(handler, guarded(f))
end

-- Lua 5.1 matches with recursion in C, one level for each item of a pattern, and has no limit to it.
local function short(pattern)
  if type(pattern) == "string" and #pattern > host.pattern_max then
    error("a pattern has at most " .. host.pattern_max .. " bytes here", 3)
  end
end

function string.find(text, pattern, init, plain)
  if not plain then short(pattern) end
  return find(text, pattern, init, plain)
end

function string.match(text, pattern, init)
  short(pattern)
  return match(text, pattern, init)
end

function string.gmatch(text, pattern)
  short(pattern)
  return gmatch(text, pattern)
end

function string.gsub(text, pattern, replacement, n)
  short(pattern)
  if n == nil then return gsub(text, pattern, replacement) end
  return gsub(text, pattern, replacement, n)
end

-- The original counts to n in C also where there is nothing to repeat.
function string.rep(text, n)
  if text == "" then n = 0 end
  return rep(text, n)
end

-- A compiler may take away the original's test for too many (bug 2 of Lua 5.1.5, lua.org/bugs.html).
function unpack(list, first, last)
  first, last = first or 1, last or #list
  if last - first >= host.unpack_max then error("too many results to unpack", 2) end
  return unpack0(list, first, last)
end

function print(...)
  local words = {}
  for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
  host.log(concat(words, "\t"))
end

local json = { null = host.null }

local function method(call)
  return function(first, second)
    -- Also called as a method: cjson:decode(text).
    if first == json then first = second end
    local ok, answer = call(first)
    if not ok then error(answer, 2) end
    return answer
  end
end

json.encode = method(host.encode)
json.decode = method(host.decode)
cjson, bit = json, host.bit

local modules = { cjson = json, bit = host.bit }

function require(name)
  return modules[name] or error("there is no module '" .. tostring(name) .. "' here, only 'cjson' and 'bit'", 2)
end

return function(f, ...)
  return pcall0(f, ...)
end
