local_there_and_back <- function(data) {
  decode_table(encode_table(data))
}

through_python <- function(data) {
  columns <- python_module("spicestat.r.columns")
  decode_table(convert(columns$encode_table(columns$decode_table(encode_table(data)))))
}

every_type <- function() {
  data.frame(
    double = c(0.5, NA, Inf, -1e300),
    integer = c(1L, NA, .Machine$integer.max, -.Machine$integer.max),
    logical = c(TRUE, NA, FALSE, TRUE),
    text = c("a", NA, "\u00e9\u4f60 \U0001F600", "NA"),
    factor = factor(c("z", NA, "y", "z"), levels = c("z", "y", "unused")),
    ordered = factor(c("z", NA, "y", "z"), levels = c("z", "y", "unused"), ordered = TRUE),
    date = as.Date(c("2020-02-29", NA, "1969-12-31", "0099-01-01")),
    time = as.POSIXct(c(0.25, NA, -1e9, 1.6e9), origin = "1970-01-01", tz = "Europe/Berlin")
  )
}

test_that("every type comes back with its NA", {
  data <- every_type()
  expect_equal(as.data.frame(local_there_and_back(data)), data)
})

test_that("every type goes through Python with its NA", {
  skip_if_no_engine()
  data <- every_type()
  received <- as.data.frame(through_python(data))
  # a whole number with NA is a float in pandas.read_csv, too
  expect_type(received$integer, "double")
  received$integer <- as.integer(received$integer)
  expect_equal(received, data)
})

test_that("columns without NA keep their type in Python", {
  skip_if_no_engine()
  data <- every_type()[c(1, 3), ]
  rownames(data) <- NULL
  expect_equal(as.data.frame(through_python(data)), data)
})

test_that("tables of 0, 1 and 2 rows keep their shape", {
  skip_if_no_engine()
  for (n in 0:2) {
    data <- every_type()[rev(seq_len(n)), ]
    received <- through_python(data)
    expect_equal(dim(received), dim(data))
    expect_equal(names(received), names(data))
    expect_equal(lapply(received, is.na), lapply(data, is.na), ignore_attr = TRUE)
  }
  expect_equal(dim(through_python(data.frame(x = 1:3)[0])), c(3L, 0L))
})

test_that("columns of nothing but NA stay missing", {
  skip_if_no_engine()
  data <- every_type()[c(2, 2), ]
  expect_true(all(is.na(through_python(data))))
  expect_true(all(is.na(through_python(data[1, ]))))
})

test_that("NaN is a number in R and missing in Python", {
  expect_identical(is.nan(local_there_and_back(data.frame(x = c(NaN, NA)))$x), c(TRUE, FALSE))
  skip_if_no_engine()
  expect_identical(through_python(data.frame(x = c(NaN, NA)))$x, c(NA_real_, NA_real_))
})

test_that("whole numbers beyond R's integers come as doubles", {
  skip_if_no_engine()
  columns <- python_module("spicestat.r.columns")
  pandas <- python_module("pandas")
  frame <- pandas$DataFrame(reticulate::dict(x = list(2^31, 2^53)))$astype("int64")
  expect_identical(decode_table(convert(columns$encode_table(frame)))$x, c(2^31, 2^53))
})

test_that("a 64-bit integer is read, and refused where R cannot hold it", {
  # 2^40, -1 and NA as bit64 stores them
  bits <- as.raw(c(
    0, 0, 0, 0, 0, 1, 0, 0, rep(255, 8), 0, 0, 0, 0, 0, 0, 0, 128
  ))
  x <- structure(readBin(bits, "double", 3, endian = "little"), class = "integer64")
  expect_identical(decode_integer64(x), c(2^40, -1, NA))
  large <- structure(readBin(as.raw(c(rep(0, 7), 64)), "double", endian = "little"), class = "integer64")
  data <- tibble::new_tibble(list(x = large), nrow = 1L)
  expect_error(encode_table(data), class = "spicestat_error_column")
})

test_that("text keeps its letters whatever its encoding", {
  latin <- "\xe9t\xe9"
  Encoding(latin) <- "latin1"
  expect_identical(local_there_and_back(data.frame(x = latin))$x, "\u00e9t\u00e9")
  broken <- "\xe9t\xe9"
  Encoding(broken) <- "UTF-8"
  expect_error(encode_table(data.frame(x = broken)), class = "spicestat_error_column")
})

test_that("a factor can have NA as a level", {
  x <- addNA(factor(c("a", NA)))
  expect_identical(local_there_and_back(data.frame(x = x))$x, factor(c("a", NA)))
})

test_that("date-times of the session keep their instant", {
  now <- as.POSIXct("2026-03-01 12:00:00")
  received <- local_there_and_back(data.frame(x = c(now, NA)))$x
  expect_equal(as.numeric(received), c(as.numeric(now), NA))
  expect_equal(as.numeric(local_there_and_back(tibble::tibble(x = as.POSIXlt(now)))$x), as.numeric(now))
})

test_that("columns that cannot cross are refused by name, or left out", {
  odd <- list(
    list = I(list(1, 2)), matrix = matrix(1:4, 2), complex = c(1i, 2i),
    difftime = as.difftime(c(1, 2), units = "mins"), data = data.frame(a = 1:2),
    early = as.Date(c(-1e6, NA), origin = "1970-01-01")
  )
  for (name in names(odd)) {
    data <- tibble::new_tibble(list(ok = 1:2, x = odd[[name]]), nrow = 2L)
    expect_error(encode_table(data), "column 'x'", class = "spicestat_error_column")
    expect_equal(names(decode_table(encode_table(data, optional = "x"))), "ok")
  }
})

test_that("two columns of one name are refused", {
  data <- stats::setNames(data.frame(1, 2), c("x", "x"))
  expect_error(encode_table(data), "same name", class = "spicestat_error_column")
})

test_that("100 000 rows cross in well under a second", {
  skip_if_no_engine()
  n <- 1e5
  data <- data.frame(
    a = sample(letters, n, TRUE), b = stats::rnorm(n), c = sample(9L, n, TRUE), d = stats::runif(n) < 0.5
  )
  expect_lt(system.time(through_python(data))[["elapsed"]], 1)
})
