local_there_and_back <- function(data) {
  decode_table(encode_table(data))
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
    expect_warning(left <- encode_table(data, optional = "x"), "'x'", class = "spicestat_warning_suspicious_data")
    expect_equal(names(decode_table(left)), "ok")
  }
})

test_that("two columns of one name are refused", {
  data <- stats::setNames(data.frame(1, 2), c("x", "x"))
  expect_error(encode_table(data), "same name", class = "spicestat_error_column")
})

test_that("tables of every kind come back as they were", {
  expect_null(crossing_failures(local_there_and_back))
  skip_if_no_engine()
  expect_null(crossing_failures())
})

test_that("a missing value of every type is missing in Python, too, and nothing else is", {
  skip_if_no_engine()
  count <- reticulate::py_run_string(
    "def missing(frame): return [int(frame[name].isna().sum()) for name in frame]",
    convert = FALSE
  )
  columns <- python_module("spicestat.r.columns")
  data <- every_type()
  expect_equal(unlist(convert(count$missing(columns$decode_table(encode_table(data))))), rep(1L, ncol(data)))
})

test_that("text that R cannot hold is refused in Python, and not cut short", {
  skip_if_no_engine()
  columns <- python_module("spicestat.r.columns")
  pandas <- python_module("pandas")
  frame <- pandas$DataFrame(reticulate::dict(x = list("ok")))
  bad <- reticulate::py_run_string("def spoil(frame): return frame.assign(x='a\\0b')", convert = FALSE)
  expect_error(columns$encode_table(bad$spoil(frame)), "cannot hold")
})

# processor time, which other programs on the computer do not inflate
test_that("100 000 rows of 8 columns cross in a tenth of a second each way", {
  skip_if_no_engine()
  n <- 1e5
  set.seed(1)
  data <- data.frame(
    a = sample(sprintf("p%d", 1:1000), n, TRUE), b = sample(letters, n, TRUE), c = sample(c("x", "y"), n, TRUE),
    d = stats::rnorm(n), e = stats::rnorm(n), f = stats::runif(n), g = sample(9L, n, TRUE), h = stats::runif(n) < 0.5
  )
  columns <- python_module("spicestat.r.columns")
  cost <- function(run) min(replicate(5, sum(unclass(system.time(run()))[c("user.self", "sys.self")])))
  there <- cost(function() columns$decode_table(encode_table(data)))
  frame <- columns$decode_table(encode_table(data))
  back <- cost(function() decode_table(convert(columns$encode_table(frame))))
  # measured on 2 cores: 0.07 and 0.04 s; twice the promise is room for slower computers
  expect_lt(there, 0.2)
  expect_lt(back, 0.2)
})
