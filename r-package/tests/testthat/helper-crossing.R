# What must hold of tables that go from R to Python and back, with every NumPy.
# test-columns.R runs it in this process, and test-numpy.R in a new one with NumPy 1.26.

through_python <- function(data) {
  columns <- reticulate::import("spicestat.r.columns", convert = FALSE)
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

#' Tables that come back as they were, to the last bit and attribute
crossing_tables <- function() {
  full <- every_type()[c(1, 3, 4), ]
  rownames(full) <- NULL
  list(
    three_rows = full,
    two_rows = full[1:2, ],
    one_row = full[1, ],
    large = data.frame(x = c(2^31, -2^31, 2^53, -2^53, 2^31 - 1), y = 1e300 * 1:5),
    integers = data.frame(x = c(-.Machine$integer.max, -1L, 0L, .Machine$integer.max)),
    infinite = data.frame(x = c(Inf, -Inf, .Machine$double.xmin, -0.1)),
    missing_double = data.frame(x = c(NA, 1, NA)),
    missing_logical = data.frame(x = c(NA, TRUE, FALSE)),
    missing_first = data.frame(x = c(NA, "b", "a", NA), stringsAsFactors = FALSE),
    one_missing_factor = data.frame(x = factor(NA, levels = c("b", "a"))),
    empty_factor = data.frame(x = factor(character(), levels = c("b", "a"), ordered = TRUE)),
    text = data.frame(x = c("", " ", "NA", "nan", "a\tb\nc", strrep("long", 1e4), "1", "TRUE")),
    unicode = data.frame(
      x = c("\u00e9", "e\u0301", "\u4f60\u597d", "\U0001F600", "\u05e9\u05dc\u05d5\u05dd", "\ufeffmark"),
      y = factor(c("\u00fc", "\u00df", "\u00fc", "\u0131", "I", "i"))
    ),
    unicode_names = stats::setNames(data.frame(1:2, c("a", "b")), c("Bl\u00f6cke", "\u9009\u62e9 1")),
    dates = data.frame(x = as.Date(c("0001-01-01", "9999-12-31", NA, "1900-02-28"))),
    times = data.frame(x = as.POSIXct(c(-2e9, 4e9, NA, 1.5), origin = "1970-01-01", tz = "America/New_York")),
    summer_time = data.frame(x = as.POSIXct(1698539400 + 3600 * 0:2, origin = "1970-01-01", tz = "Europe/Berlin"))
  )
}

#' Names of the tables that did not, with what differed
crossing_failures <- function(through = through_python) {
  tables <- crossing_tables()
  for (name in names(tables)) rownames(tables[[name]]) <- NULL
  differing <- lapply(tables, function(data) {
    tryCatch(all.equal(as.data.frame(through(data)), data, tolerance = 0), error = conditionMessage)
  })
  unlist(Filter(Negate(isTRUE), differing))
}
