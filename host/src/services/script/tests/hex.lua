-- Bytes to hexadecimal digits and back, one byte after another, as a script for HEX products does it.

function encode(bytes)
  return (bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

function decode(digits)
  return (digits:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end
