# Nested lists as a file: see spicestat/r/wire_format.py, which is the other half.
# Neither JSON nor Arrow, which R does not bring along.

write_tree <- function(x, file) {
  connection <- file(file, "wb")
  on.exit(close(connection))
  write_node(x, connection)
}

read_tree <- function(file) {
  connection <- file(file, "rb")
  on.exit(close(connection))
  read_node(connection)
}

write_node <- function(x, to) {
  if (is.null(x)) {
    write_letter("N", to)
  } else if (is.list(x)) {
    write_list(x, to)
  } else if (is.atomic(x) && typeof(x) %in% c("logical", "integer", "double", "character")) {
    write_atomic(x, to)
  } else {
    abort_spicestat(
      "config",
      c(
        paste0("a value of type ", typeof(x), " cannot be sent to the engine's own process."),
        i = "Python objects need options(spicestat.engine = \"embedded\")."
      )
    )
  }
}

write_atomic <- function(x, to) {
  if (length(x) == 1) {
    write_scalar(x, to)
  } else if (is.logical(x)) {
    write_list(as.list(x), to)
  } else {
    write_vector(x, to)
  }
}

write_letter <- function(letter, to, length = NULL) {
  writeBin(charToRaw(letter), to)
  if (!is.null(length)) write_integers(length, to)
}

write_integers <- function(x, to) {
  writeBin(as.integer(x), to, endian = "little")
}

write_list <- function(x, to) {
  names <- names(x)
  write_letter(if (is.null(names)) "V" else "M", to, length(x))
  for (i in seq_along(x)) {
    if (!is.null(names)) write_text(names[[i]], to)
    write_node(x[[i]], to)
  }
}

write_scalar <- function(x, to) {
  switch(typeof(x),
    logical = {
      write_letter("l", to)
      writeBin(as.raw(x), to)
    },
    integer = write_letter("i", to, x),
    double = {
      write_letter("d", to)
      writeBin(x, to, endian = "little")
    },
    character = {
      write_letter("s", to)
      write_text(x, to)
    }
  )
}

write_vector <- function(x, to) {
  x <- unname(x)
  write_letter(switch(typeof(x), integer = "I", double = "D", character = "S"), to, length(x))
  if (is.character(x)) {
    x <- enc2utf8(x)
    write_integers(nchar(x, "bytes"), to)
    writeBin(charToRaw(paste(x, collapse = "")), to)
  } else {
    writeBin(as.vector(x), to, endian = "little")
  }
}

write_text <- function(x, to) {
  bytes <- charToRaw(enc2utf8(x))
  write_integers(length(bytes), to)
  writeBin(bytes, to)
}

read_node <- function(from) {
  letter <- rawToChar(readBin(from, "raw", 1))
  switch(letter,
    N = NULL,
    l = as.logical(readBin(from, "raw", 1)),
    i = read_integers(from, 1),
    d = readBin(from, "double", 1, endian = "little"),
    s = read_texts(from, 1),
    I = read_integers(from, read_integers(from, 1)),
    D = readBin(from, "double", read_integers(from, 1), endian = "little"),
    S = read_texts(from, read_integers(from, 1)),
    V = lapply(seq_len(read_integers(from, 1)), function(i) read_node(from)),
    M = read_mapping(from),
    abort_spicestat("internal", "the answer of the engine's process is damaged.")
  )
}

read_integers <- function(from, n) {
  readBin(from, "integer", n, endian = "little")
}

read_texts <- function(from, n) {
  text <- readChar(from, read_integers(from, n), useBytes = TRUE)
  Encoding(text) <- "UTF-8"
  text
}

read_mapping <- function(from) {
  n <- read_integers(from, 1)
  entries <- vector("list", n)
  names <- character(n)
  for (i in seq_len(n)) {
    names[[i]] <- read_texts(from, 1)
    entries[i] <- list(read_node(from))
  }
  stats::setNames(entries, names)
}
