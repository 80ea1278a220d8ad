checked <- function(formula, people) check_categories(formula, people, "id", NULL)

people_with <- function(x) data.frame(id = paste0("p", seq_along(x)), x = x)

test_that("text with a value for each participant is refused by name, in R and before Python is asked", {
  names <- people_with(paste("street", 1:30))
  expect_error(checked(~x, names), "column 'x' has 30 different values in 30", class = "spicestat_error_covariate")
  expect_error(checked(~., names), "'x'", class = "spicestat_error_covariate")
  expect_error(checked(~x, people_with(factor(c(1, 1, 3:30)))), "as.numeric", class = "spicestat_error_covariate")
  ages <- transform(example_fit$people, age = paste0(age + seq_along(age) / 100))
  for (method in c("meta", "hierarchical", "metafor")) {
    expect_error(spice_group(example_fit, ~ diagnosis + age, data = ages, method = method),
      "numbers stored as text: convert", class = "spicestat_error_covariate"
    )
  }
})

test_that("text with many values is told of, and numbers stored as text sooner", {
  expect_warning(checked(~x, people_with(rep(letters[1:12], 5))), "'x' is text, and is taken for 12 categories",
    class = "spicestat_warning_categories"
  )
  expect_warning(checked(~x, people_with(rep(paste(11:17), 5))), "as.numeric", class = "spicestat_warning_categories")
})

test_that("what is meant passes in silence", {
  expect_silent(checked(~x, people_with(rep(letters[1:10], 5))))
  expect_silent(checked(~x, people_with(factor(rep(letters[1:12], 5)))))
  expect_silent(checked(~ as.numeric(x), people_with(paste(1:30))))
  expect_silent(checked(~ factor(x), people_with(rep(paste(11:17), 5))))
  expect_silent(checked(~x, people_with(c("a", "b", "a"))))
  expect_silent(checked(~x, people_with(c("a", "b"))))
  expect_silent(checked(~1, NULL))
  expect_silent(checked(~x, people_with(1:30)))
  expect_silent(checked(~ id, people_with(1:30)))
})

test_that("a factor of many numbers is told of, and one of many names is meant", {
  expect_warning(checked(~x, people_with(factor(rep(1:12, 5)))), "'x' is a factor, and is taken for 12 categories",
    class = "spicestat_warning_categories"
  )
  expect_silent(checked(~x, people_with(factor(rep(letters[1:12], 5)))))
  expect_silent(checked(~x, people_with(factor(rep(1:3, 20)))))
})
