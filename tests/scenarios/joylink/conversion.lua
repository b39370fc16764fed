-- The bytes of an invented product: A5, a letter for what it is, then four bytes for each value, led by its number.
local names = { "switch", "mode", "target", "counter", "temperature" }
local modes = { "auto", "cool", "heat", "dry" }
local factors = { 1, 1, 2, 1, 10 }
local letters = { [1002] = "C", [1004] = "G", [1050] = "R", [102] = "S", [104] = "S", [150] = "T" }

local function position(list, wanted)
  for at, entry in ipairs(list) do
    if entry == wanted then return at end
  end
end

-- Above -100, so that no value is negative.
local function to_number(at, value)
  if at == 2 then return position(modes, value) end
  return math.floor((tonumber(value) + (at == 5 and 100 or 0)) * factors[at] + 0.5)
end

local function to_value(at, number)
  if at == 2 then return modes[number] end
  return number / factors[at] - (at == 5 and 100 or 0)
end

function jds2pri(bizcode, cmd)
  local letter = letters[bizcode]
  if not letter then return -1, 0, "" end
  local out = "\165" .. letter
  if letter == "G" then return 0, #out, out end
  local json = cjson.decode(cmd)
  if letter == "R" or letter == "T" then
    out = out .. cmd
    return 0, #out, out
  end
  for _, stream in ipairs(json.streams) do
    local at = position(names, stream.stream_id)
    if at then
      local n = to_number(at, stream.current_value)
      out = out .. string.char(at, math.floor(n / 16777216) % 256, math.floor(n / 65536) % 256, math.floor(n / 256) % 256, n % 256)
    elseif letter == "C" then
      return -1, 0, ""
    end
  end
  return 0, #out, out
end

function pri2jds(bizcode, length, bin)
  if length < 2 or bin:byte(1) ~= 165 then return -1, "", bizcode end
  local letter, made = bin:sub(2, 2), nil
  for code, known in pairs(letters) do
    if known == letter then made = code end
  end
  -- What the device looks like is the same whether somebody asked or not, so who asks says what it is.
  if letter == "S" then made = bizcode == 102 and 102 or 104 end
  if letter == "R" or letter == "T" then return 0, bin:sub(3), made end
  local streams = {}
  for from = 3, length, 5 do
    local at, a, b, c, d = bin:byte(from, from + 4)
    streams[#streams + 1] = { stream_id = names[at], current_value = to_value(at, ((a * 256 + b) * 256 + c) * 256 + d) }
  end
  if letter == "C" then return 0, cjson.encode({ streams = streams, snapshot = {} }), made end
  return 0, cjson.encode({ code = 0, streams = streams, msg = "ok" }), made
end
